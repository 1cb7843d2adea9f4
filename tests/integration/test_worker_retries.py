"""Retries: kept in the coordination Redis, counted in the message, lost with no worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import retrying
from tests.apps.harness import Rig, rig
from tests.support.processes import Process
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def system(redis_server: Any) -> Iterator[Rig]:
    with rig(retrying, "redis", redis_server) as made:
        yield made


@pytest.fixture(scope="module")
def worker(system: Rig) -> Process:
    return system.worker("threads", 4)


def test_a_failing_handler_is_tried_again_until_it_works(system: Rig, worker: Process) -> None:
    """Two failures, then success: three starts, nothing dead, nothing left to come."""
    emission = system.emit(retrying.Failing(tag="heals", times=2))
    system.wait_for_records("heals", 1, "fails no more")
    assert len(system.records("heals", "fails")) == 3
    wait_until(lambda: system.scheduled() == 0, what="an empty schedule")
    assert system.letters(ids=(str(emission.event_id),)) == []


def test_one_failing_handler_does_not_touch_the_others_of_its_event(system: Rig, worker: Process) -> None:
    """Handlers are independent: one is tried until it is dead, the other runs exactly once."""
    emission = system.emit(retrying.Failing(tag="alone"))
    letter = system.letter_of(emission)
    assert (letter.handler, letter.reason, letter.starts) == ("tests.apps.retrying.fails", "exhausted", 3)
    assert len(system.records("alone", "fails")) == 3
    assert len(system.records("alone", "works")) == 1


def test_attempts_are_counted_in_the_message_and_the_id_stays(system: Rig, worker: Process) -> None:
    """Every attempt is the same delivery, under the same id; headers tell its number, to Celery too."""
    emission = system.emit(retrying.Headers(tag="headers"))
    system.letter_of(emission)
    lines = system.records("headers")
    assert [line["headers"]["events-attempt"] for line in lines] == [1, 2, 3]
    assert [line["retries"] for line in lines] == [0, 1, 2]
    assert {line["id"] for line in lines} == {emission.deliveries[0].task_id}


def test_retry_later_counts_no_attempt(system: Rig, worker: Process) -> None:
    """A handler with a single attempt may put itself off as often as it likes."""
    emission = system.emit(retrying.Postponed(tag="later", times=4))
    system.wait_for_records("later", 5)
    assert [line["number"] for line in system.records("later")] == [1, 2, 3, 4, 5]
    wait_until(lambda: system.scheduled() == 0, what="an empty schedule")
    assert system.letters(ids=(str(emission.event_id),)) == []


@pytest.mark.parametrize(
    "handler, reason, error_type",
    [
        ("gives_up", "gave_up", "GiveUp"),
        ("gives_up_on", "gave_up", "KeyError"),
        ("fails_otherwise", "gave_up", "ValueError"),
        ("never_again", "exhausted", "ConnectionError"),
    ],
)
def test_what_is_not_tried_again_is_dead_after_one_start(
    system: Rig, worker: Process, handler: str, reason: str, error_type: str
) -> None:
    """GiveUp, Retry(give_up_on=...), an error that Retry(on=...) does not name, and retry=None."""
    emission = system.emit(retrying.Hopeless(tag=handler))
    letter = system.letter_of(emission, handler)
    assert (letter.reason, letter.error_type, letter.starts) == (reason, error_type, 1)
    assert len(system.records(handler, handler)) == 1


def test_a_long_delay_is_kept_in_redis_and_holds_nothing_in_the_worker(system: Rig, worker: Process) -> None:
    """While it waits an hour the message is acknowledged: no broker can deliver it a second time meanwhile."""
    wait_until(lambda: system.scheduled() == 0, what="nothing of other tests to be left")
    emission = system.emit(retrying.Long(tag="long"))
    task_id = emission.deliveries[0].task_id
    wait_until(lambda: system.scheduled() == 1, what="the delivery in the schedule")
    due = system.parts.coordination.client.zscore(system.parts.schedule.keys[0], task_id)
    seconds, microseconds = system.parts.coordination.client.time()
    assert due is not None
    assert 3500 < due / 1000 - (seconds + microseconds / 1e6) <= 3600
    system.wait_for_rest()
    inspect = system.system.celery.control.inspect(timeout=10, limit=1)
    for held in (inspect.scheduled(), inspect.reserved(), inspect.active()):
        assert task_id not in str(held)
    assert len(system.records("long")) == 1


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_retry_survives_the_death_of_every_worker(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """kill -9 of all workers while a delivery waits: the next worker runs it, once."""
    with rig(retrying, broker, redis_server, rabbitmq_server) as made:
        made.worker()
        emission = made.emit(retrying.Waiting(tag="survives"))
        wait_until(lambda: made.scheduled() == 1, what="the delivery in the schedule")
        made.wait_for_rest()
        made.kill_workers()
        assert made.scheduled() == 1
        made.worker()
        made.wait_for_records("survives", 2)
        wait_until(lambda: made.scheduled() == 0, what="an empty schedule")
        made.wait_for_rest()
        assert [line["number"] for line in made.records("survives")] == [1, 2]
        assert made.letters(ids=(str(emission.event_id),)) == []
