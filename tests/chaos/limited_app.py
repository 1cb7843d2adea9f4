"""Handlers with limits, orders and groups under attack: each writes a line to one file when it begins and when it ends.

A line that was written is not lost with its process, and CLOCK_MONOTONIC is one clock for all of them.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from events_core import DomainEvent, EventSystem, GroupCompleted, Limit, Retry
from events_core.scope import fence_token
from tests.apps.recording import claim_soon

LOG, WORKER, RESOURCE = "LIMITED_LOG", "LIMITED_WORKER", "LIMITED_RESOURCE"
#: Seconds after which the place of a dead holder is free again.
LEASE = 2.0

_numbers = itertools.count()


class Work(DomainEvent, event_type="limited.work"):
    """seconds: of the handler of which one runs at once; the others take as many times longer as more of them run."""

    number: int
    key: str
    seconds: float


class Step(DomainEvent, event_type="chaos.step"):
    number: int
    key: str


class Sized(DomainEvent, event_type="limited.sized"):
    number: int
    seconds: float


class Fenced(DomainEvent, event_type="limited.fenced"):
    """Writes to a resource once there is a file of that name."""

    number: int
    gate: str


class Member(DomainEvent, event_type="limited.member"):
    number: int
    seconds: float


class Completed(GroupCompleted, event_type="limited.completed"):
    pass


@functools.cache
def _log() -> int:
    return os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@functools.cache
def _resource() -> redis.Redis:
    return redis.Redis.from_url(os.environ[RESOURCE], decode_responses=True)


def _note(what: str, run: str, handler: str, number: int, key: str) -> None:
    worker, token, now = os.environ[WORKER], fence_token() or 0, time.monotonic_ns()
    os.write(_log(), f"{what} {run} {handler} {number} {key or '-'} {worker} {os.getpid()} {token} {now}\n".encode())


@contextmanager
def noted(handler: str, number: int, key: str = "") -> Iterator[None]:
    """Writes a line when the block begins, and when it ends."""
    run = f"{os.getpid()}.{next(_numbers)}"
    _note("begin", run, handler, number, key)
    try:
        yield
    except BaseException:
        _note("failed", run, handler, number, key)
        raise
    _note("done", run, handler, number, key)


def one(event: Work) -> None:
    with noted("one", event.number, event.key):
        time.sleep(event.seconds)


def three(event: Work) -> None:
    with noted("three", event.number, event.key):
        time.sleep(3 * event.seconds)


async def ten(event: Work) -> None:
    with noted("ten", event.number, event.key):
        await asyncio.sleep(10 * event.seconds)


def step(event: Step) -> None:
    with noted("step", event.number, event.key):
        time.sleep(0.003)
        if random.random() < 0.03:
            raise ConnectionError("not today")


async def sized(event: Sized) -> None:
    with noted("sized", event.number):
        await asyncio.sleep(event.seconds)


def fenced(event: Fenced) -> None:
    """Writes with its fence token to a resource that refuses a smaller one than it has seen."""
    with noted("fenced", event.number):
        while not Path(event.gate).exists():
            time.sleep(0.01)
    token = fence_token() or 0
    accepted = _resource().eval(
        "local seen = tonumber(redis.call('GET', KEYS[1]) or 0) if tonumber(ARGV[1]) < seen then return 0 end "
        "redis.call('SET', KEYS[1], ARGV[1]) return 1",
        1,
        "fenced:seen",
        token,
    )
    _resource().rpush("fenced:writes", f"{event.number} {token} {'accepted' if accepted else 'refused'}")


async def member(event: Member) -> None:
    with noted("member", event.number):
        await asyncio.sleep(event.seconds)


def completed(event: Completed) -> None:
    with noted("completed", event.done + event.dead, str(event.event_id)):
        pass


def bind(system: EventSystem) -> EventSystem:
    """Binds all handlers."""
    for handler, places in ((one, 1), (three, 3), (ten, 10)):
        limit = Limit(handler.__name__, places, key="key", lease=LEASE)
        system.bind(Work, handler, limit=limit)
    quick = Limit("quick", 1000, lease=LEASE)  # for its lease: an order or a group by itself has one of 30 s
    system.bind(Step, step, ordered_by="key", limit=quick, retry=Retry(max_attempts=50, base=0.1, factor=1.0))
    system.bind(Sized, sized, limit=Limit("sized", 2, lease=LEASE))
    system.bind(Fenced, fenced, limit=Limit("fenced", 1, lease=1.0))
    system.bind(Member, member, limit=quick)
    system.bind(Completed, completed)
    return system


events = bind(claim_soon(EventSystem(os.environ.get("TEST_SYSTEM", "unset"))))
