"""Which of the messages of a queue are for us, and whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from events_core.brokers import Format, Received, Receiver
from events_core.bus.consumers import Consumer
from events_core.bus.plan import Plan
from events_core.bus.running import Work
from events_core.events import IntegrationEvent
from events_core.receiving import Accepted, Refused, Skipped, examine


@dataclass(slots=True)
class Sorted:
    """A batch: events for our consumers, messages that nobody here asked for, and what is no such event."""

    works: list[Work] = field(default_factory=list)
    skipped: list[Received] = field(default_factory=list)
    refused: list[tuple[Received, Refused]] = field(default_factory=list)


def sort(batch: Sequence[Received], plan: Plan, fmt: Format, max_bytes: int, receiver: Receiver, epoch: int) -> Sorted:
    """Decide about each message. fmt: the broker's. max_bytes: of a body. receiver, epoch: what it came by."""
    found = Sorted()
    for received in batch:
        verdict = _examine(received, plan, fmt, max_bytes)
        if isinstance(verdict, tuple):
            event, consumers = verdict
            found.works.append(Work(received, event, consumers, receiver, epoch))
        elif isinstance(verdict, Skipped):
            found.skipped.append(received)
        else:
            found.refused.append((received, verdict))
    return found


def _examine(
    received: Received, plan: Plan, fmt: Format, max_bytes: int
) -> tuple[IntegrationEvent, list[Consumer]] | Skipped | Refused:
    verdict = examine(received, fmt, plan.wanted(received.topic), max_bytes)
    if not isinstance(verdict, Accepted):
        return verdict
    event = verdict.event
    consumers = plan.consumers(received.topic, event)
    if not consumers:  # another version is registered, and no upcaster leads there
        error = f"no consumer is registered for {event.event_type!r} version {event.version}"
        return Refused("unknown_event", error, "", verdict.envelope)
    return event, consumers
