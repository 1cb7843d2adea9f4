"""Handlers that can be stopped by an operator, or not at all."""

from __future__ import annotations

import ctypes
import os

from events_core import DomainEvent, EventSystem, Retry
from events_worker import tasks
from events_worker.isolation import client
from tests.apps.recording import claim_soon, enter, gate, record, wait_for_gate

events = claim_soon(EventSystem(os.environ.get("TEST_SYSTEM", "unset")))

if "TEST_GRACE" in os.environ:  # the test that waits for hard limits should not wait a minute and a half
    tasks.HARD_LIMIT_GRACE = float(os.environ["TEST_GRACE"])
    client._GRACE = tasks.HARD_LIMIT_GRACE / 3


class Held(DomainEvent, event_type="dying.held"):
    tag: str


class Failed(DomainEvent, event_type="dying.failed"):
    tag: str
    secret: str = "x"


class Stuck(DomainEvent, event_type="dying.stuck"):
    tag: str


@events.handler(Held)
def waits(event: Held) -> None:
    enter(event.tag, "waits")
    wait_for_gate(event.tag)
    record(event.tag, "waited")


@events.handler(Failed, retry=Retry(max_attempts=2, base=0.05, jitter=False))
def fails_until_open(event: Failed) -> None:
    number = enter(event.tag, "fails_until_open")
    if not gate(event.tag):
        raise ConnectionError(f"no route to {event.secret} in start {number}")
    record(event.tag, "worked")


@events.handler(Stuck, timeout=0.2)
def stuck_in_c(event: Stuck) -> None:
    """Python's signal handlers do not run while C code does not return."""
    enter(event.tag, "stuck_in_c")
    if gate(event.tag):
        return
    libc = ctypes.PyDLL(None)  # keeps the interpreter's lock, as C code that computes does
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # for ever; no signal interrupts it
