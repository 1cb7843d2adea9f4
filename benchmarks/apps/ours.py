"""The work as events and handlers. A worker's system is in `ours_worker`."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from benchmarks.apps import work
from benchmarks.apps.marks import mark
from events_core import DomainEvent, Event, EventSystem
from events_core.envelope import Envelope

QUEUE = "bench.events"


class Order(DomainEvent, event_type="order"):
    """What all of them carry."""

    order_id: UUID
    email: str = "someone@example.org"
    total: int = 1999
    gate: str = ""
    sent_ns: int = 0


class Placed(Order, event_type="order.placed"):
    """Has three handlers, for the publishing side."""


class Noop(Order, event_type="order.noop"):
    pass


class Short(Order, event_type="order.short"):
    pass


class Wait(Order, event_type="order.wait"):
    pass


class Parent(Order, event_type="order.parent"):
    """Followed by a Noop."""


class Timed(Order, event_type="order.timed"):
    """Carries the moment it was emitted."""


class Gate(Order, event_type="order.gate"):
    """Holds a slot of the worker."""


EVENTS: dict[str, type[Order]] = {
    "noop": Noop,
    "short": Short,
    "wait": Wait,
    "parent": Parent,
    "timed": Timed,
    "gate": Gate,
}


def reserve(event: Placed) -> None:
    pass


def charge(event: Placed) -> None:
    pass


def confirm(event: Placed) -> None:
    pass


def noop(event: Noop) -> None:
    mark()


def short(event: Short) -> None:
    work.short()


async def wait(event: Wait) -> None:
    await work.wait()


def parent(event: Parent) -> Event:
    mark()
    return Noop(order_id=event.order_id)


def timed(event: Timed) -> None:
    mark(event.sent_ns)


def gate(event: Gate) -> None:
    work.gate(event.gate)


def bind(system: EventSystem) -> EventSystem:
    """Bind all handlers."""
    for handler in (reserve, charge, confirm):
        system.bind(Placed, handler)
    system.bind(Noop, noop)
    system.bind(Short, short)
    system.bind(Wait, wait)
    system.bind(Parent, parent)
    system.bind(Timed, timed)
    system.bind(Gate, gate)
    return system


def envelope_of(kind: str, **fields: Any) -> dict[str, Any]:
    """The envelope that we would send, for the others to carry: the same content for everyone."""
    event = EVENTS[kind](order_id=uuid4(), **fields)
    envelope: dict[str, Any] = json.loads(Envelope.of(event).to_json())
    return envelope
