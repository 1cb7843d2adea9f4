"""A suspect's run whose worker dies beside it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from events_core import EventSystem
from events_worker.isolation.warden import _withdraw
from events_worker.ledger import Begun
from events_worker.parts import parts_of
from events_worker.run import Run

TASK_ID = "3876a768-a45d-5a8d-ac70-f803e7559c12"


@pytest.fixture
def system(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    system = EventSystem(system_name, broker_url=redis_url)
    parts_of(system).ledger.begin_alone(TASK_ID, 1, "owner")
    yield system
    system.close()


def forked(work: Callable[[], Any]) -> int:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def starts(system: EventSystem) -> int:
    """Those that were made alone and did not come to an end."""
    found = parts_of(system).ledger.look(TASK_ID, 1)
    assert isinstance(found, Begun)
    return found.starts


def withdraw(system: EventSystem, child: int) -> None:
    _withdraw(system, Run.of(TASK_ID, "charge", "mail", {}, {}, redelivered=True), child, "owner")


def test_one_that_was_under_way_is_not_counted(system: EventSystem) -> None:
    withdraw(system, forked(lambda: time.sleep(60)))
    assert starts(system) == 0


@pytest.mark.parametrize(
    "end", [lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGTERM)], ids=["exits", "is killed"]
)
def test_one_that_had_ended_by_itself_is(system: EventSystem, end: Callable[[], Any]) -> None:
    """A poison that ends its process in the same moment as another one ends the worker: else it began four times."""
    child = forked(end)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    parts_of(system).ledger._coordination.client.hset(parts_of(system).ledger.key(TASK_ID), "until", 0)
    withdraw(system, child)
    assert starts(system) == 1
