"""The web application of the benchmark `web`, for uvicorn: one endpoint emits, its neighbour does not."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from fastapi import FastAPI

from benchmarks.apps.ours import Placed, bind
from events_core import EventSystem
from events_core.contrib.fastapi import CorrelationMiddleware, held, lifespan

events = bind(EventSystem("bench"))
#: As an application has it, and the same without anything of ours.
shop = FastAPI(lifespan=lifespan(events), dependencies=[held(events)])
shop.add_middleware(CorrelationMiddleware)
bare = FastAPI()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Both of them, for the server."""
    await (bare if scope.get("path") == "/bare" else shop)(scope, receive, send)


@shop.get("/emitting")
async def emitting() -> str:
    """Emits one event with three handlers."""
    event = Placed(order_id=uuid4())
    await events.aemit(event)
    return str(event.order_id)


@shop.get("/quiet")
@bare.get("/bare")
async def quiet() -> str:
    """The same, but only makes the event."""
    return str(Placed(order_id=uuid4()).order_id)


@shop.get("/alone/{times}")
async def alone(times: int) -> list[float]:
    """Microseconds of each of so many `await events.aemit`, one after another; none within what is held."""
    found = []
    for _ in range(times):
        event = Placed(order_id=uuid4())
        begin = time.perf_counter()
        await events.aemit(event, now=True)
        found.append((time.perf_counter() - begin) * 1e6)
    return found
