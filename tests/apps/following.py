"""Handlers whose work makes further events."""

from __future__ import annotations

import os

from events_core import DomainEvent, EventSystem, Retry
from tests.apps.recording import enter, record

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))


class Started(DomainEvent, event_type="following.started"):
    tag: str
    fails: int = 0


class Followed(DomainEvent, event_type="following.followed"):
    tag: str
    how: str
    attempt: int


class Ping(DomainEvent, event_type="following.ping"):
    tag: str


class Pong(DomainEvent, event_type="following.pong"):
    tag: str


@events.handler(Started, retry=Retry(max_attempts=3, base=0.05, jitter=False))
async def makes_events(event: Started) -> list[Followed]:
    """Emits in every way there is, then fails, so often as the event says."""
    attempt = enter(event.tag, "makes_events")
    now = Followed(tag=event.tag, how="now", attempt=attempt)
    emitted = Followed(tag=event.tag, how="emitted", attempt=attempt)
    awaited = Followed(tag=event.tag, how="awaited", attempt=attempt)
    returned = Followed(tag=event.tag, how="returned", attempt=attempt)
    record(event.tag, "ids", ids=[str(one.event_id) for one in (now, emitted, awaited, returned)])
    await events.aemit(now, now=True)
    events.emit(emitted)
    await events.aemit(awaited)
    if attempt <= event.fails:
        raise ConnectionError("not today")
    record(event.tag, "about to succeed")
    return [returned]


@events.handler(Followed)
def hears(event: Followed) -> None:
    from celery import current_task

    envelope = current_task.request.args[0]
    known = {name: envelope[name] for name in ("id", "correlation_id", "causation_id", "hops")}
    parent = current_task.request.parent_id
    record(event.tag, "heard", how=event.how, attempt=event.attempt, parent_id=parent, **known)


@events.handler(Ping)
def answers(event: Ping) -> Pong:
    record(event.tag, "ping")
    return Pong(tag=event.tag)


@events.handler(Pong)
def serves(event: Pong) -> Ping:
    record(event.tag, "pong")
    return Ping(tag=event.tag)
