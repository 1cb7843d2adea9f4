"""What a worker does with deliveries, in all its kinds: run by a worker, and inline in a test."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from events_core import DomainEvent, Event, EventHandler, EventSystem, GiveUp, GroupCompleted, Retry, RetryLater
from tests.apps.recording import enter, record

events = EventSystem(os.environ.get("TEST_SYSTEM", "inlined"), max_hops=4)
QUICK = Retry(max_attempts=3, base=0.05, factor=1.0, jitter=False)


class Tagged(DomainEvent):
    tag: str


class Plain(Tagged, event_type="inlined.plain"): ...


class Unsteady(Tagged, event_type="inlined.unsteady"):
    times: int


class Hopeless(Tagged, event_type="inlined.hopeless"): ...


class Postponed(Tagged, event_type="inlined.postponed"): ...


class Chained(Tagged, event_type="inlined.chained"): ...


class Link(Tagged, event_type="inlined.link"):
    number: int


class Endless(Tagged, event_type="inlined.endless"): ...


class Odd(Tagged, event_type="inlined.odd"):
    mixed: bool = False


class Rescued(Tagged, event_type="inlined.rescued"): ...


class Ordered(Tagged, event_type="inlined.ordered"):
    key: str
    number: int
    times: int = 0


class Held(Tagged, event_type="inlined.held"):
    number: int


class Slow(Tagged, event_type="inlined.slow"): ...


class Listed(Tagged, event_type="inlined.listed"):
    items: list[int]


class Member(Tagged, event_type="inlined.member"):
    number: int


class AllDone(GroupCompleted, event_type="inlined.all_done"):
    tag: str


class Desk:
    """A dependency."""

    def stamp(self) -> str:
        return "stamped"


@events.handler(Plain)
def plain(event: Plain) -> None:
    record(event.tag, "plain")


@events.handler(Plain)
async def plain_async(event: Plain) -> None:
    await asyncio.sleep(0)
    record(event.tag, "plain_async")


@events.handler(Plain)
class WithDesk(EventHandler[Plain]):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def handle(self, event: Plain) -> None:
        record(event.tag, "WithDesk", said=self._desk.stamp())


@events.handler(Unsteady, retry=QUICK)
def unsteady(event: Unsteady) -> list[Event]:
    number = enter(event.tag, "unsteady")
    events.emit(Link(tag=event.tag, number=100))
    if number <= event.times:
        raise ConnectionError("not today")
    return [Link(tag=event.tag, number=200)]


@events.handler(Hopeless, retry=QUICK)
def gives_up(event: Hopeless) -> None:
    enter(event.tag, "gives_up")
    raise GiveUp("the order was cancelled")


@events.handler(Hopeless, retry=Retry(base=0.05, give_up_on=LookupError))
async def gives_up_on(event: Hopeless) -> None:
    enter(event.tag, "gives_up_on")
    raise KeyError("no such order")


@events.handler(Hopeless, retry=None)
def never_again(event: Hopeless) -> None:
    enter(event.tag, "never_again")
    raise ConnectionError(f"of {event.tag}")


@events.handler(Postponed, retry=Retry(max_attempts=1))
async def postpones(event: Postponed) -> None:
    if enter(event.tag, "postpones") <= 3:
        raise RetryLater(0.05)


@events.handler(Chained)
def first(event: Chained) -> Event:
    return Link(tag=event.tag, number=0)


@events.handler(Link)
def links(event: Link) -> list[Event]:
    record(event.tag, "link", number=event.number)
    return [Link(tag=event.tag, number=event.number + 1)] if event.number < 2 else []


@events.handler(Endless)
def endless(event: Endless) -> Event:
    record(event.tag, "endless")
    return Endless(tag=event.tag)


@events.handler(Odd, retry=None)
def odd(event: Odd) -> Any:
    record(event.tag, "odd")
    return [Plain(tag=event.tag), "no event"] if event.mixed else {"status": "sent"}


def rescue(event: Rescued) -> Event:
    record(event.tag, "rescue")
    return Link(tag=event.tag, number=2)


@events.handler(Rescued, retry=QUICK, fallback=rescue)
def needs_rescue(event: Rescued) -> None:
    enter(event.tag, "needs_rescue")
    raise ConnectionError("down")


@events.handler(Ordered, ordered_by="key", retry=QUICK)
def ordered(event: Ordered) -> None:
    record(event.tag, "ordered", key=event.key, number=event.number)
    if enter(f"{event.tag}{event.number}", "ordered") <= event.times:
        raise ConnectionError("not today")


@events.handler(Held, ordered_by="tag", on_dead="hold", retry=None)
def held(event: Held) -> None:
    record(event.tag, "held", number=event.number)
    if event.number == 1:
        raise ValueError("the first")


@events.handler(Slow, timeout=0.2, retry=None)
async def slow(event: Slow) -> None:
    enter(event.tag, "slow")
    await asyncio.sleep(60)


@events.handler(Listed)
def changes_its_copy(event: Listed) -> None:
    event.items.append(99)
    record(event.tag, "changed", items=event.items)


@events.handler(Listed)
def sees_its_own(event: Listed) -> None:
    record(event.tag, "own", items=event.items)


@events.handler(Member, retry=QUICK)
def member(event: Member) -> None:
    record(event.tag, "member", number=event.number)
    if event.number == 1 and enter(event.tag, "the second") == 1:
        raise ConnectionError("not today")
    if event.number == 2:
        raise GiveUp("the third")


@events.handler(AllDone)
def all_done(event: AllDone) -> None:
    record(event.tag, "all_done", total=event.total, done=event.done, dead=event.dead)
