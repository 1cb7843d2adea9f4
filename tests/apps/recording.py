"""What handlers of the test applications did, kept in a Redis, by the tag of the event."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from typing import Any

import redis

from events_core import EventSystem

URL, KEY = "TEST_RECORD_URL", "TEST_RECORD_KEY"


@functools.cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ[URL], decode_responses=True)


def _key(tag: str, *more: str) -> str:
    return ":".join((os.environ[KEY], tag, *more))


def claim_soon(events: EventSystem) -> EventSystem:
    """The system, whose workers take over from a killed one after 3 seconds, not 10, where the broker is Redis."""
    if os.environ.get("EVENTS_BROKER_URL", "").startswith("redis") and "EVENTS_REDIS_TRANSPORT" not in os.environ:
        events.celery.conf.broker_transport_options = {"claim_after": float(os.environ.get("TEST_CLAIM_AFTER", "3"))}
    return events


def record(tag: str, what: str, **values: Any) -> int:
    """Appends one line to what is recorded of `tag`; returns how many lines there are now."""
    line = {"what": what, "pid": os.getpid(), "thread": threading.get_ident(), "at": time.time(), **values}
    return int(_client().rpush(_key(tag), json.dumps(line)))


def enter(tag: str, what: str) -> int:
    """Records a start of `what` and returns its number, from 1."""
    number = int(_client().incr(_key(tag, "starts", what)))
    record(tag, what, number=number)
    return number


def gate(tag: str, name: str = "gate") -> bool:
    """True once the test has opened that gate."""
    return bool(_client().exists(_key(tag, name)))


def wait_for_gate(tag: str, name: str = "gate") -> None:
    """Blocks until the test opens the gate."""
    while not gate(tag, name):
        time.sleep(0.01)
