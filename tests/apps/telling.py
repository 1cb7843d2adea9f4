"""Handlers that would tell a secret, if anybody let them."""

from __future__ import annotations

import os

from events_core import DomainEvent, EventSystem, Retry
from tests.apps.recording import enter, record

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))


class Paid(DomainEvent, event_type="telling.paid"):
    tag: str
    card: str


class Declined(DomainEvent, event_type="telling.declined"):
    tag: str
    card: str


@events.handler(Paid)
def fine(event: Paid) -> Declined:
    record(event.tag, "fine")
    return Declined(tag=event.tag, card=event.card)


@events.handler(Paid)
def returns_it(event: Paid) -> str:
    return event.card  # not an event: ignored


@events.handler(Declined, retry=Retry(max_attempts=2, base=0.05, jitter=False))
def tells(event: Declined) -> None:
    if enter(event.tag, "tells") == 1:
        raise ValueError(f"cannot charge {event.card!r}")
    raise RuntimeError("declined") from ValueError(event.card)


@events.handler(Declined, retry=None)
async def tells_async(event: Declined) -> None:
    raise KeyError(event.card)
