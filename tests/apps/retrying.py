"""Handlers that fail, in each way that has a meaning."""

from __future__ import annotations

import os

from events_core import DomainEvent, EventSystem, GiveUp, Retry, RetryLater
from tests.apps.recording import enter, gate, record

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))
QUICK = Retry(max_attempts=3, base=0.05, factor=1.0, jitter=False)


class Failing(DomainEvent, event_type="retrying.failing"):
    tag: str
    times: int = 99


class Waiting(DomainEvent, event_type="retrying.waiting"):
    tag: str


class Postponed(DomainEvent, event_type="retrying.postponed"):
    tag: str
    times: int


class Hopeless(DomainEvent, event_type="retrying.hopeless"):
    tag: str


class Long(DomainEvent, event_type="retrying.long"):
    tag: str


class Headers(DomainEvent, event_type="retrying.headers"):
    tag: str


@events.handler(Failing, retry=QUICK)
def fails(event: Failing) -> None:
    if enter(event.tag, "fails") <= event.times:
        raise ConnectionError("not today")
    record(event.tag, "fails no more")


@events.handler(Failing)
def works(event: Failing) -> None:
    enter(event.tag, "works")


@events.handler(Waiting, retry=Retry(max_attempts=2, base=2.0, jitter=False))
def fails_once(event: Waiting) -> None:
    if enter(event.tag, "fails_once") == 1:
        raise ConnectionError("not today")


@events.handler(Postponed, retry=Retry(max_attempts=1))
async def postpones(event: Postponed) -> None:
    if enter(event.tag, "postpones") <= event.times:
        raise RetryLater(0.05)


@events.handler(Hopeless, retry=QUICK)
def gives_up(event: Hopeless) -> None:
    enter(event.tag, "gives_up")
    raise GiveUp("the order was cancelled")


@events.handler(Hopeless, retry=Retry(base=0.05, give_up_on=LookupError))
def gives_up_on(event: Hopeless) -> None:
    enter(event.tag, "gives_up_on")
    raise KeyError("no such order")  # a LookupError


@events.handler(Hopeless, retry=Retry(base=0.05, on=OSError))
def fails_otherwise(event: Hopeless) -> None:
    enter(event.tag, "fails_otherwise")
    raise ValueError("none of Retry(on=...)")


@events.handler(Hopeless, retry=None)
def never_again(event: Hopeless) -> None:
    enter(event.tag, "never_again")
    raise ConnectionError("once only")


@events.handler(Long, retry=Retry(max_attempts=2, base=3600.0, max_delay=3600.0, jitter=False))
def waits_an_hour(event: Long) -> None:
    enter(event.tag, "waits_an_hour")
    raise ConnectionError("in an hour")


@events.handler(Headers, retry=QUICK)
def shows_its_headers(event: Headers) -> None:
    from celery import current_task

    request = current_task.request
    headers = {name: value for name, value in request.headers.items() if name.startswith("events-")}
    record(event.tag, "headers", headers=headers, retries=request.retries, id=request.id)
    if not gate(event.tag):
        raise ConnectionError("not today")
