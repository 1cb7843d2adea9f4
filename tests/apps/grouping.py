"""Handlers of groups: members, a completion event, and a handler that emits a group itself."""

from __future__ import annotations

import os
import time

from events_core import DomainEvent, EventSystem, GroupCompleted, Retry
from events_core.scope import current_scope
from tests.apps.recording import claim_soon, enter, gate, record, wait_for_gate

events = claim_soon(EventSystem(os.environ.get("TEST_SYSTEM", "unset")))


class Step(DomainEvent, event_type="grouping.step"):
    tag: str
    number: int
    #: attempts that fail
    fails: int = 0
    #: waits until the test opens the gate
    gated: bool = False


class Twice(DomainEvent, event_type="grouping.twice"):
    tag: str
    number: int


class Report(GroupCompleted, event_type="grouping.report"):
    tag: str = ""


class Order(DomainEvent, event_type="grouping.order"):
    tag: str


@events.handler(Step, retry=Retry(max_attempts=2, base=0.2, jitter=False))
def step(event: Step) -> None:
    record(event.tag, "start", number=event.number)
    if event.gated:
        wait_for_gate(event.tag)
    time.sleep(0.01)  # the work
    record(event.tag, "end", number=event.number)
    if enter(f"{event.tag}:attempts:{event.number}", "attempt") <= event.fails:
        raise ConnectionError("not today")


@events.handler(Twice)
def first(event: Twice) -> None:
    record(event.tag, "start", number=event.number, by="first")
    record(event.tag, "end", number=event.number, by="first")


@events.handler(Twice)
async def second(event: Twice) -> None:
    record(event.tag, "start", number=event.number, by="second")
    record(event.tag, "end", number=event.number, by="second")


@events.handler(Report)
def report(event: Report) -> None:
    scope = current_scope()
    assert scope is not None
    figures = {"group_id": event.group_id, "total": event.total, "done": event.done, "dead": event.dead}
    causes = {"causation_id": scope.cause.causation_id, "correlation_id": scope.cause.correlation_id}
    record(event.tag, "report", id=str(event.event_id), cancelled=event.cancelled, **figures, **causes)


@events.handler(Order, retry=Retry(max_attempts=3, base=0.2, jitter=False))
def emits_a_group(event: Order) -> None:
    steps = [Step(tag=event.tag, number=number, gated=True) for number in range(6)]
    group = events.emit_group(steps, max_parallel=2, on_complete=Report(tag=event.tag))
    record(event.tag, "emitted", by=str(event.event_id), group=group.id, ids=[str(step.event_id) for step in steps])
    if not gate(event.tag):
        raise ConnectionError("after the group was emitted")
