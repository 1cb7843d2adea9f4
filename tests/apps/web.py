"""A web application for uvicorn: its requests emit, and can be kept waiting by a file that is missing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

from events_core import DomainEvent, EventSystem
from events_core.contrib.fastapi import CorrelationMiddleware, held, lifespan

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"), handlers=os.environ.get("TEST_HANDLERS", "").split())
app = FastAPI(lifespan=lifespan(events), dependencies=[held(events)])
app.add_middleware(CorrelationMiddleware)


class Asked(DomainEvent, event_type="web.asked"):
    number: int


@events.handler(Asked)
def first(event: Asked) -> None: ...


@events.handler(Asked)
def second(event: Asked) -> None: ...


@app.post("/{number}")
async def ask(number: int, gate: str = "") -> int:
    """Emits, and answers when the file is there; one beside it, with its number, tells that it waits."""
    await events.aemit(Asked(number=number))
    if gate:
        Path(f"{gate}-{number}").touch()
    while gate and not Path(gate).exists():
        await asyncio.sleep(0.01)
    return number


@app.get("/fails")
async def fail() -> None:
    """Raises what no handler expects."""
    raise ValueError("no")
