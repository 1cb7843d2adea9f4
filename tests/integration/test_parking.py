"""Bursts for crowded gates: parked many at a time, before they take a slot of the pool."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from events_worker.limits.gatekeeper import LinedUp
from events_worker.limits.parking import Arrival, Parking, is_new
from events_worker.run import Run
from tests.apps import limited
from tests.apps.harness import Rig, rig
from tests.support.listening import listening
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def made(redis_server: Any) -> Iterator[Rig]:
    with rig(limited, "redis", redis_server) as one:
        yield one


class Keeper:
    """Says of each what it is told to say; the first step waits until it is let."""

    def __init__(self, how: LinedUp = "waits", *, fails: BaseException | None = None) -> None:
        self.how = how
        self.fails = fails
        self.steps: list[int] = []
        self.let = threading.Event()

    def is_crowded(self, handler: str, number: int) -> bool:
        return handler == "mail" and number > 2

    def line_up(self, runs: Iterable[Run]) -> list[LinedUp]:
        number = len([*runs])
        self.steps.append(number)
        self.let.wait(30)
        if self.fails is not None:
            raise self.fails
        return [self.how] * number


def put(
    parking: Parking,
    number: int,
    told: list[str],
    *,
    size: int = 500,
    reads_on: bool = False,
    read: Callable[[], Run | None] | None = None,
    acknowledge: Callable[[], None] | None = None,
) -> None:
    """told: what becomes of them. read: None: a run is read."""
    for n in range(number):
        run = Run.of(str(n), "mail", "q", {}, None, redelivered=False)
        parking.put(
            Arrival(
                size=size,
                reads_on=reads_on,
                read=read or partial(lambda run: run, run),
                acknowledge=acknowledge or partial(told.append, "acknowledged"),
                waits=lambda run: told.append(f"{run.task} waits"),
                go_on=partial(told.append, "goes on"),
            )
        )


@pytest.mark.parametrize("reads_on", [False, True], ids=["at once", "at ease"])
def test_what_comes_meanwhile_goes_in_a_few_steps(reads_on: bool) -> None:
    """With rests between them, where the worker reads on meanwhile."""
    keeper, told = Keeper(), list[str]()
    parking = Parking(keeper)
    put(parking, 1, told, reads_on=reads_on)
    wait_until(lambda: keeper.steps, what="the first step")
    put(parking, 150, told, reads_on=reads_on)
    keeper.let.set()
    wait_until(lambda: len(told) == 302, what="all of them to be parked")
    assert (keeper.steps, Counter(told)) == ([1, 64, 64, 22], {"acknowledged": 151, "mail waits": 151})


@pytest.mark.parametrize(("size", "most"), [(10, 1024), (1024 * 1024, 4), (5 * 1024 * 1024, 1)])
def test_only_so_many_may_wait_to_be_parked(size: int, most: int) -> None:
    """The memory of a worker whose coordination Redis does not answer is not to fill up."""
    keeper, told = Keeper(), list[str]()
    parking = Parking(keeper)
    put(parking, most - 1, told, size=size)
    assert parking.room > 0
    put(parking, 1, told, size=size)
    assert parking.room <= 0
    keeper.let.set()
    wait_until(lambda: len(told) == 2 * most, what="all of them to be parked")
    assert parking.room == 4 * 1024 * 1024


def test_whose_turn_comes_at_once_is_not_said_to_wait() -> None:
    """It runs already: Flower would be told last that it waits."""
    keeper, told = Keeper("granted"), list[str]()
    keeper.let.set()
    put(Parking(keeper), 3, told)
    wait_until(lambda: len(told) == 3, what="all of them to be acknowledged")
    assert set(told) == {"acknowledged"}


@pytest.mark.parametrize("fails", [None, RuntimeError("the script is broken"), SystemExit(1)], ids=repr)
def test_what_is_not_parked_goes_to_the_pool(fails: BaseException | None) -> None:
    """Also when parking fails altogether: then the pool finds out why, for each of them; and it goes on."""
    keeper, told = Keeper("asks", fails=fails), list[str]()
    keeper.let.set()
    parking = Parking(keeper)
    put(parking, 3, told)
    wait_until(lambda: len(told) == 3, what="all of them to go on")
    put(parking, 2, told)
    wait_until(lambda: len(told) == 5, what="the next ones to go on")
    assert set(told) == {"goes on"}


@pytest.mark.parametrize("read", [lambda: None, lambda: 1 / 0, sys.exit], ids=["not to be parked", "garbage", "exit"])
def test_what_cannot_be_read_goes_to_the_pool_alone(read: Any) -> None:
    keeper, told = Keeper(), list[str]()
    parking = Parking(keeper)
    put(parking, 1, told, read=read)
    put(parking, 2, told)
    keeper.let.set()
    wait_until(lambda: len(told) == 5, what="all of them to be settled")
    assert Counter(told) == {"goes on": 1, "acknowledged": 2, "mail waits": 2}


def test_an_acknowledgement_that_fails_does_not_stop_the_others() -> None:
    keeper, told = Keeper(), list[str]()
    keeper.let.set()
    parking = Parking(keeper)
    put(parking, 1, told, acknowledge=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    put(parking, 2, told)
    wait_until(lambda: len(told) == 4, what="the others to be parked")


@pytest.mark.parametrize("headers", [{"events-grant": 7}, {"events-copy": True}, {"events-generation": 1}], ids=str)
def test_only_new_deliveries_to_handlers_that_are_crowded(headers: dict[str, object]) -> None:
    parking = Parking(Keeper())
    assert parking.wants("mail", 3)
    assert not parking.wants("mail")
    assert not parking.wants("print", 3)
    assert is_new({"events-generation": 0})
    assert not is_new(headers)


def test_a_burst_takes_no_slots(made: Rig) -> None:
    """Only the first few are tasks of Celery's. The others are parked before, which Flower is told, and all run in the
    end, three at once.
    """
    made.worker("threads", 4, extra=["-E"])
    heard: list[dict[str, Any]] = []
    with listening(made.system.celery, heard):
        sent = made.emit_many([limited.Mail(tag="a", tenant=str(n % 3)) for n in range(60)])
        wait_until(lambda: made.waiting() == 57, 30, "all others to be parked")
        retried = wait_until(
            lambda: len(found := {one["uuid"] for one in heard if one["type"] == "task-retried"}) == 57 and found,
            what="Flower to be told of all of them",
        )
    assert retried < {emission.deliveries[0].task_id for emission in sent}
    assert {one["uuid"] for one in heard if one["type"] == "task-received"} >= retried
    stats = made.system.celery.control.inspect(timeout=10, limit=1).stats()
    [total] = [node["total"] for node in stats.values()]
    assert sum(total.values()) < 20, total
    made.open_gate("a")
    made.wait_for_records("a", 60, "out")
    inside = 0
    for line in made.records("a"):
        inside += 1 if line["what"] == "in" else -1
        assert inside <= 3
    wait_until(
        lambda: not made.parts.coordination.client.exists(f"{made.name}:parked:messages"), 30, "nothing to be left"
    )
    assert len(made.records("a", "out")) == 60


def test_what_lies_behind_a_burst_is_read_although_nothing_can_be_parked(
    redis_server: Any, own_redis_server: RedisServer
) -> None:
    """60 wait to be parked while the coordination Redis stands still. Behind them, one without a limit runs."""
    broker = redis_server.empty()
    made = Rig(limited, broker, own_redis_server.empty(), broker, env={"TEST_CROWDED": "60"})
    try:
        made.worker("threads", 4)
        made.emit_many([limited.Mail(tag="a", tenant=str(n)) for n in range(8)])
        coordination = made.parts.coordination.client
        wait_until(lambda: made.waiting() == 5, 30, "the gate to be crowded")
        assert own_redis_server.pid is not None
        os.kill(own_redis_server.pid, signal.SIGSTOP)
        try:
            made.emit_many([limited.Mail(tag="a", tenant=str(n)) for n in range(60)])
            made.emit(limited.Free(tag="b"))
            made.wait_for_records("b", 1, "free")
        finally:
            os.kill(own_redis_server.pid, signal.SIGCONT)
        made.open_gate("a")
        made.wait_for_records("a", 68, "out")
        wait_until(lambda: not coordination.hlen(f"{made.name}:parked:messages"), 30, "nothing to be left")
        made.wait_for_empty_queue()
    finally:
        made.close()


def test_a_worker_that_ends_gives_back_what_it_was_about_to_run(
    redis_server: Any, own_redis_server: RedisServer
) -> None:
    """60 wait to be parked while the coordination Redis stands still. When it goes on, nothing blocks them, but
    the worker is ending: its pool takes nothing, and they run in the next one, once, and none is a dead letter.
    """
    broker = redis_server.empty()
    made = Rig(limited, broker, own_redis_server.empty(), broker, env={"TEST_CROWDED": "60"})
    try:
        admission = made.parts.turns.admission
        admission.call(["pause", "free"])  # a worker looks at its start who is paused
        worker = made.worker("threads", 4)
        made.emit(limited.Free(tag="a"))
        wait_until(lambda: made.parts.coordination.client.hlen(f"{made.name}:parked:messages"), what="it to be parked")
        admission.call(["resume", "free"])
        made.wait_for_records("a", 1)
        assert own_redis_server.pid is not None
        os.kill(own_redis_server.pid, signal.SIGSTOP)
        try:
            made.emit_many([limited.Free(tag="b") for _ in range(60)])
            wait_until(lambda: made.unacknowledged() == 60, what="the worker to have read them")
            assert made.records("b") == []
            worker.signal(signal.SIGTERM)
            worker.wait_for_log("Warm shutdown")
        finally:
            os.kill(own_redis_server.pid, signal.SIGCONT)
        assert worker.wait() == 0
        made.worker("threads", 4)
        made.wait_for_records("b", 60)
        made.wait_for_rest()
        assert (len(made.records("b")), made.letters()) == (60, [])
    finally:
        made.close()
