"""One handler of each kind, for what holds under every pool and broker."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from uuid import UUID

from events_core import DomainEvent, EventHandler, EventSystem, Retry
from tests.apps.recording import record, wait_for_gate

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))


class Happened(DomainEvent, event_type="basics.happened"):
    tag: str
    number: int = 0


class Awaited(DomainEvent, event_type="basics.awaited"):
    tag: str


class Slow(DomainEvent, event_type="basics.slow"):
    tag: str
    seconds: float = 30.0


class Caught(DomainEvent, event_type="basics.caught"):
    tag: str


class Late(DomainEvent, event_type="basics.late"):
    tag: str
    order_id: UUID | None = None


@events.handler(Happened)
def sync_one(event: Happened) -> None:
    """A function."""
    record(event.tag, "sync_one", number=event.number)


@events.handler(Happened, queue="basics.mail")
async def async_one(event: Happened) -> None:
    loop = asyncio.get_running_loop()
    record(event.tag, "async_one", loop=id(loop), number=event.number)


@events.handler(Happened)
class ClassOne(EventHandler[Happened]):
    async def handle(self, event: Happened) -> None:
        await asyncio.sleep(0)
        record(event.tag, "ClassOne", loop=id(asyncio.get_running_loop()), number=event.number)


@events.handler(Late, aliases=["old.module.handler", "older.handler"])
def renamed(event: Late) -> None:
    record(event.tag, "renamed")


_at_once = 0
_lock = threading.Lock()


@events.handler(Awaited, retry=None)
async def together(event: Awaited) -> None:
    """Goes on when the test has seen all that run at once."""
    global _at_once
    _at_once += 1
    record(event.tag, "together", at_once=_at_once)
    while not await asyncio.to_thread(_is_open, event.tag):
        await asyncio.sleep(0.02)
    _at_once -= 1


def _is_open(tag: str) -> bool:
    from tests.apps.recording import gate

    return gate(tag)


QUICK = Retry(max_attempts=2, base=0.05, jitter=False)


@events.handler(Slow, timeout=1.0, retry=QUICK)
async def slow_async(event: Slow) -> None:
    record(event.tag, "slow_async")
    try:
        await asyncio.sleep(event.seconds)
        record(event.tag, "slow_async finished")
    except Exception:
        record(event.tag, "slow_async swallowed it")


@events.handler(Slow, timeout=1.0, retry=QUICK)
def slow_sync(event: Slow) -> None:
    record(event.tag, "slow_sync")
    try:
        time.sleep(event.seconds)
        record(event.tag, "slow_sync finished")
    except Exception:
        record(event.tag, "slow_sync swallowed it")


@events.handler(Caught, timeout=0.3, retry=None)
def waits_for_the_test(event: Caught) -> None:
    record(event.tag, "begun")
    wait_for_gate(event.tag)
    record(event.tag, "returned")
