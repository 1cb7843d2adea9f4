"""Handlers with gates: limits, a rate, a breaker with a fallback, orders."""

from __future__ import annotations

import os
from typing import Any

from events_core import Breaker, DomainEvent, EventSystem, Limit, Rate, Retry
from events_core.scope import fence_token
from events_worker.limits import crowded
from events_worker.limits.early import Early
from events_worker.run import Run
from tests.apps.recording import claim_soon, enter, gate, record, wait_for_gate

events = claim_soon(EventSystem(os.environ.get("TEST_SYSTEM", "unset")))
if os.environ.get("TEST_COUNT_EARLY"):
    ask = Early.ask

    def count(self: Early, run: Run, *operations: Any) -> bool:
        record("early", "asked")
        return ask(self, run, *operations)

    Early.ask = count  # type: ignore[method-assign, assignment]
if "TEST_CROWDED" in os.environ:  # seconds that a gate counts as crowded
    crowded._MOMENT = float(os.environ["TEST_CROWDED"])
QUICK = Retry(max_attempts=3, base=0.05, factor=1.0, jitter=False)
LEASE = float(os.environ.get("TEST_LEASE", "30"))  # seconds; short where holders are killed


class Mail(DomainEvent, event_type="limited.mail"):
    tag: str
    tenant: str = "one"


class Call(DomainEvent, event_type="limited.call"):
    tag: str


class Charge(DomainEvent, event_type="limited.charge"):
    tag: str
    fails: bool = True


class Step(DomainEvent, event_type="limited.step"):
    tag: str
    order: str
    number: int


class Sealed(DomainEvent, event_type="limited.sealed"):
    """Ordered, and held back behind a dead one."""

    tag: str
    order: str
    number: int


class Nap(DomainEvent, event_type="limited.nap"):
    tag: str


class Quick(DomainEvent, event_type="limited.quick"):
    tag: str
    key: int = 0


class Free(DomainEvent, event_type="limited.free"):
    tag: str


@events.handler(Mail, name="send", limit=[Limit("smtp", 3, lease=LEASE), Limit("tenant", 2, key="tenant", lease=LEASE)])
def send(event: Mail) -> None:
    """Waits at the gate of its tag, so that a test sees who is in."""
    record(event.tag, "in", tenant=event.tenant, fence=fence_token())
    wait_for_gate(event.tag)
    record(event.tag, "out", tenant=event.tenant)


@events.handler(Call, name="call", limit=Rate("api", 20, per=1.0))
def call(event: Call) -> None:
    record(event.tag, "called")


def charge_later(event: Charge) -> None:
    record(event.tag, "instead")


@events.handler(Charge, name="charge", breaker=Breaker("bank", 2, 1.0), retry=QUICK, fallback=charge_later)
def charge(event: Charge) -> None:
    enter(event.tag, "tried")
    if event.fails and not gate("bank"):
        raise ConnectionError("the bank is closed")
    record(event.tag, "charged")


@events.handler(Step, name="step", ordered_by="order", retry=QUICK)
def step(event: Step) -> None:
    """Each third one fails at first; number 99 always."""
    started = enter(event.tag, f"{event.order}-{event.number}")
    if event.number == 99 or (event.number % 3 == 0 and started == 1):
        raise ConnectionError("not today")
    record(event.tag, "stepped", order=event.order, number=event.number)


@events.handler(Sealed, name="sealed", ordered_by="order", on_dead="hold", retry=None)
def sealed(event: Sealed) -> None:
    if event.number == 1 and not gate(event.tag):
        raise ConnectionError("not today")
    record(event.tag, "sealed", number=event.number)


@events.handler(Nap, name="nap")
def nap(event: Nap) -> None:
    """Has no limit. Waits at the gate of its tag."""
    record(event.tag, "in")
    wait_for_gate(event.tag)
    record(event.tag, "out")


@events.handler(Quick, name="quick", limit=[Limit("quick", 2), Limit("quick-key", 1, key="key")])
def quick(event: Quick) -> None:
    """Its places are free again when it has ended: their lease is far longer than a test."""
    record(event.tag, "quick")


@events.handler(Free, name="free")
def free(event: Free) -> None:
    record(event.tag, "free")
