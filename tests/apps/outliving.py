"""Handlers that start what outlives them, and events whose validators fail in unusual ways."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from pydantic import field_validator

from events_core import DomainEvent, EventSystem
from tests.apps.recording import claim_soon, record, wait_for_gate

events = claim_soon(EventSystem(os.environ.get("TEST_SYSTEM", "unset")))
_tasks: set[asyncio.Task[None]] = set()


class Begun(DomainEvent, event_type="outliving.begun"):
    tag: str


class Later(DomainEvent, event_type="outliving.later"):
    tag: str


class Typed(DomainEvent, event_type="outliving.typed"):
    tag: str
    value: dict[str, Any]


class Picky(DomainEvent, event_type="outliving.picky"):
    tag: str

    @field_validator("tag")
    @classmethod
    def _look_up(cls, value: str) -> str:
        if os.environ.get("TEST_WORKER"):
            raise KeyError(value)
        return value


@events.handler(Begun)
async def starts_a_task(event: Begun) -> None:
    async def later() -> None:
        await asyncio.to_thread(wait_for_gate, event.tag)
        await events.aemit(Later(tag=event.tag))

    task = asyncio.create_task(later())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    record(event.tag, "begun")


@events.handler(Later)
def hears_later(event: Later) -> None:
    record(event.tag, "later")


@events.handler(Typed)
def sees(event: Typed) -> None:
    record(event.tag, "seen", value=event.value)


@events.handler(Picky)
def never(event: Picky) -> None:
    record(event.tag, "never")
