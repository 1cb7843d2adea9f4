"""Handlers with limits, and the same without. A worker's system is in `limited_worker`."""

from __future__ import annotations

import asyncio

from benchmarks.apps import work
from benchmarks.apps.marks import mark
from events_core import DomainEvent, EventSystem, Limit

SYSTEM = "limits"
QUEUE = f"{SYSTEM}.events"
#: Seconds of the handlers of a tenant and of a group.
JOB, MEMBER = 0.020, 0.010
HELD = 10
NEVER = 1_000_000


class Noop(DomainEvent, event_type="limits.noop"):
    """What those carry whose handlers do nothing."""

    order_id: str = "4f2a9c1e-6a53-4f3e-8a8e-6d0b8a6f1c55"


class Free(Noop, event_type="limits.free"):
    """Does nothing, without a limit."""


class Permitted(Noop, event_type="limits.permitted"):
    """Does nothing, with a limit that nothing ever waits for."""


class Parked(Noop, event_type="limits.parked"):
    """Does nothing, one at a time."""


class Held(DomainEvent, event_type="limits.held"):
    """Waits 100 ms, at most ten at once."""

    number: int


class Long(DomainEvent, event_type="limits.long"):
    """Holds one of ten places until a file is there."""

    gate: str


class Timed(DomainEvent, event_type="limits.timed"):
    """Carries the moment it was emitted; has no limit."""

    sent_ns: int


class Job(DomainEvent, event_type="limits.job"):
    """Of a tenant, that may have two of four places. sent_ns: 0 where nobody asks how long it waited."""

    tenant: str
    sent_ns: int = 0


class Member(DomainEvent, event_type="limits.member"):
    """Waits 10 ms."""

    number: int


class Gate(DomainEvent, event_type="limits.gate"):
    """Holds a slot of the worker."""

    gate: str


def free(event: Free) -> None:
    mark()


def permitted(event: Permitted) -> None:
    mark()


def parked(event: Parked) -> None:
    mark()


async def held(event: Held) -> None:
    await work.wait()


def long(event: Long) -> None:
    mark()
    work.gate(event.gate)


def timed(event: Timed) -> None:
    mark(event.sent_ns)


async def job(event: Job) -> None:
    mark(event.sent_ns)
    await asyncio.sleep(JOB)


async def member(event: Member) -> None:
    await asyncio.sleep(MEMBER)
    mark()


def gate(event: Gate) -> None:
    work.gate(event.gate)


def bind(system: EventSystem) -> EventSystem:
    """Bind all handlers."""
    system.bind(Free, free)
    system.bind(Permitted, permitted, limit=Limit("never", NEVER))
    system.bind(Parked, parked, limit=Limit("parked", 1))
    system.bind(Held, held, limit=Limit("held", HELD))
    system.bind(Long, long, limit=Limit("long", HELD))
    system.bind(Timed, timed)
    system.bind(Job, job, limit=[Limit("tenant", 2, key="tenant"), Limit("all", 4)])
    system.bind(Member, member)
    system.bind(Gate, gate)
    return system
