"""Celery workers that share a queue: who gets what, and what becomes of it when one of them stops or dies."""

from __future__ import annotations

import signal

import pytest

from tests.contract.promises import BROKERS, KEPT, promised
from tests.contract.workers import Station
from tests.support.waiting import wait_until

NUMBERS = range(1, 9)


def in_pools(*pools: str, promise: str | None = None) -> pytest.MarkDecorator:
    """The test runs on streams in each of these pools, and in the last of them on each other broker that promises it.

    The pools differ in what is the transport's: when it may read, and which thread acknowledges.
    """
    kinds = [kind for kind, made in BROKERS.items() if promise is None or getattr(made, promise) == KEPT]
    cases = [(kind, pool) for kind in kinds for pool in (pools if kind == "streams" else pools[-1:])]
    return pytest.mark.parametrize("broker, pool", cases, indirect=["broker"], ids=["-".join(case) for case in cases])


@promised()
def test_two_workers_that_hold_one_message_each_share(station: Station) -> None:
    """A prefetch of 1: while both are busy the rest waits for whoever is free first."""
    for _ in range(2):
        station.start(pool="solo", concurrency=1, prefetch=1)
    station.send("held", 1, 2, 3, 4)
    wait_until(lambda: sum(station.noted("start").values()) == 2, what="both to be busy")
    assert len({worker for _, _, worker in station.account()}) == 2
    station.broker.wait_for_ready(station.broker.queue(), 2)
    station.open()
    station.wait_for("end", 1, 2, 3, 4)
    station.wait_until_idle()
    station.each_ran_once(1, 2, 3, 4)


@in_pools("solo", "threads", "prefork")
def test_what_a_stopped_worker_had_not_begun_runs_on_another(station: Station, pool: str) -> None:
    """TERM while one task runs and others wait in the worker: nothing is lost and nothing runs twice."""
    stopped = station.start(pool=pool, concurrency=1, prefetch=4)
    station.send("held", *NUMBERS)
    station.wait_for("start", 1)
    other = station.start(pool="threads", concurrency=1, prefetch=4)
    stopped.signal(signal.SIGTERM)
    stopped.wait_for_log("Warm shutdown")
    station.open()
    assert stopped.wait() == 0, stopped.log[-2000:]
    station.wait_for("end", *NUMBERS)
    station.wait_until_idle()
    station.each_ran_once(*NUMBERS)
    assert other.alive


@promised()
def test_what_a_worker_ran_when_it_was_ended_softly_runs_on_another(station: Station) -> None:
    """QUIT with a soft shutdown of half a second: the task does not end in time, and is given back at once."""
    station.conf["worker_soft_shutdown_timeout"] = 0.5
    ended = station.start(pool="prefork", concurrency=1)
    station.send("held", 1, 2, 3)
    station.wait_for("start", 1)
    station.broker.wait_for_ready(station.broker.queue(), 0)
    ended.signal(signal.SIGQUIT)
    ended.wait()
    station.open()
    station.start()
    station.wait_for("end", 1, 2, 3)
    station.wait_until_idle()
    assert station.noted("start") == {1: 2, 2: 1, 3: 1}


@promised()
def test_a_worker_that_is_started_again_goes_on(station: Station) -> None:
    """What was sent while there was none has waited."""
    worker = station.start()
    station.send("quick", 1)
    station.wait_for("end", 1)
    assert worker.terminate() == 0
    station.send("quick", 2)
    station.start()
    station.wait_for("end", 2)
    station.wait_until_idle()
    station.each_ran_once(1, 2)


@promised()
def test_a_task_that_acknowledges_early_never_runs_again(station: Station) -> None:
    """acks_late=False: nothing holds its message once it runs, so that not even SIGKILL brings it back."""
    worker = station.start(pool="prefork", concurrency=1)
    station.send("early", 1)
    station.wait_for("start", 1)
    station.wait_until_idle()
    worker.kill9()
    station.start()
    station.send("quick", 2)
    station.wait_for("end", 2)
    assert station.noted("start") == {1: 1, 2: 1}


@in_pools("threads", "prefork", promise="returns_from_the_dead")
def test_what_a_killed_worker_held_runs_on_another(station: Station, pool: str) -> None:
    """SIGKILL: what it ran and what it had not begun comes again within seconds."""
    if station.broker.kind == "streams":
        station.conf["broker_transport_options"] = {"claim_after": 1.5}
    dead = station.start(pool=pool, concurrency=1)
    station.send("held", 1, 2, 3)
    station.wait_for("start", 1)
    station.broker.wait_for_ready(station.broker.queue(), 0)
    dead.kill9()
    station.open()
    station.start()
    station.wait_for("end", 1, 2, 3)
    station.wait_until_idle()
    assert station.noted("start") == {1: 2, 2: 1, 3: 1}
