"""The application under attack: every start and every end of a handler is recorded in a Redis of its own."""

from __future__ import annotations

import ctypes
import os
import time

import redis

from events_core import DomainEvent, EventSystem

record = redis.Redis.from_url(os.environ["CHAOS_RECORD"], decode_responses=True)
events = EventSystem(os.environ["CHAOS_SYSTEM"])
if os.environ.get("CHAOS_CLAIM_AFTER"):
    events.celery.conf.broker_transport_options = {"claim_after": float(os.environ["CHAOS_CLAIM_AFTER"])}


class Happened(DomainEvent, event_type="thing.happened"):
    number: int
    seconds: float = 0.01


class Poisoned(DomainEvent, event_type="thing.poisoned"):
    number: int
    how: str


def _work(handler: str, event: Happened) -> None:
    record.hincrby(f"started:{handler}", str(event.number))
    time.sleep(event.seconds)
    record.hincrby(f"done:{handler}", str(event.number))


@events.handler(Happened)
def first(event: Happened) -> None:
    _work("first", event)


@events.handler(Happened)
def second(event: Happened) -> None:
    _work("second", event)


@events.handler(Poisoned)
def poisoned(event: Poisoned) -> None:
    record.hincrby("started:poisoned", str(event.number))
    if event.how == "segfault":
        ctypes.string_at(0)
    if event.how == "exit":
        os._exit(3)
    if event.how == "memory":
        raise MemoryError("too much")
    raise SystemExit(2)
