"""Limited deliveries under `-P solo`, which asks for the next one when the one before has ended: on a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from events_core import Event
from tests.apps import limited
from tests.apps.harness import Rig, rig
from tests.support.processes import Process
from tests.support.waiting import wait_until


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def made(request: pytest.FixtureRequest, redis_server: Any) -> Iterator[Rig]:
    rabbitmq = request.getfixturevalue("rabbitmq_server") if request.param == "rabbitmq" else None
    with rig(limited, request.param, redis_server, rabbitmq) as one:
        yield one


def worker_of(made: Rig) -> Process:
    """One that fetches many in advance: with one message at a time there is no next one to ask for."""
    return made.worker("solo", 1, extra=["--prefetch-multiplier", "64"])


def keys(made: Rig, pattern: str) -> list[str]:
    return sorted(made.parts.coordination.client.scan_iter(f"{made.name}:{pattern}", count=1000))


@contextmanager
def all_at_once(made: Rig) -> Iterator[None]:
    """The worker is busy, and finds what is emitted in the block in one go."""
    made.emit(limited.Mail(tag="busy"))
    made.wait_for_records("busy", 1, "in")
    yield
    made.open_gate("busy")


def nothing_is_held(made: Rig) -> None:
    wait_until(lambda: not keys(made, "gate:*"), 10, "no place to be taken")  # a third of a lease
    assert keys(made, "gates:tokens") == []


def id_of(made: Rig, event: Event) -> str:
    return made.messages_of(event)[0].delivery.task_id


def test_a_place_is_taken_when_its_run_begins(made: Rig) -> None:
    """Short ones, and then one that lasts, with others behind it: of all that the worker has, one holds a place."""
    worker = worker_of(made)
    made.open_gate("short")
    made.emit_many(
        [limited.Mail(tag="short", tenant=str(number)) for number in range(50)]
        + [limited.Mail(tag="long", tenant=str(number)) for number in range(5)]
    )
    made.wait_for_records("long", 1, "in")
    wait_until(lambda: len(keys(made, "gate:held:limit:*")) == 2, 10, "the two limits of one delivery to be held")
    assert made.parts.coordination.client.zcard(f"{made.name}:gate:held:limit:smtp|") == 1
    made.open_gate("long")
    made.wait_for_records("long", 5, "out")
    assert len(made.records("short", "out")) == 50
    nothing_is_held(made)
    assert worker.terminate() == 0


def test_the_next_one_is_asked_for(made: Rig) -> None:
    """Without it everything else here would hold too."""
    made.env["TEST_COUNT_EARLY"] = "1"
    worker_of(made)
    with all_at_once(made):
        made.emit_many([limited.Quick(tag="a", key=number) for number in range(40)])
    made.wait_for_records("a", 40)
    assert made.records("early", "asked")


def test_others_run_in_between(made: Rig) -> None:
    """Handlers with and without limits, in one queue: all of them run."""
    worker_of(made)
    for _ in range(3):
        made.emit_many([limited.Quick(tag="a", key=number) for number in range(20)])
        made.emit_many([limited.Free(tag="free") for _ in range(20)])
    made.wait_for_records("free", 60)
    made.wait_for_records("a", 60)
    nothing_is_held(made)


def test_revoked_ones_hold_no_place(made: Rig) -> None:
    """Of each three the second is revoked before it begins, when it may have been asked for already."""
    worker = worker_of(made)
    events = [limited.Quick(tag="a", key=number % 2) for number in range(90)]
    revoked = [id_of(made, event) for event in events[1::3]]
    made.control("control", "revoke", *revoked)
    worker.wait_for_log(revoked[-1])
    with all_at_once(made):
        made.emit_many(events)
    made.wait_for_records("a", 60)
    wait_until(lambda: len(made.letters()) == 30, 30, "their dead letters")
    assert {letter.reason for letter in made.letters()} == {"revoked"}
    assert {letter.id for letter in made.letters()} == set(revoked)
    nothing_is_held(made)


@pytest.mark.parametrize("event", [limited.Quick(tag="bad"), limited.Step(tag="bad", order="x", number=1)])
def test_one_that_is_dead_before_it_begins_keeps_no_place(made: Rig, event: Event) -> None:
    """Not in its order either, where it is the first: it was never parked, and its message is gone."""
    worker_of(made)
    [message] = made.messages_of(event)
    with all_at_once(made):
        made.emit_many([limited.Quick(tag="a") for _ in range(3)])
        made.system.emitter.publish([replace(message, body=message.body.replace(b'"hops":0', b'"hops":99'))])
    made.wait_for_records("a", 3)
    assert made.letter().reason == "too_many_hops"
    made.emit(limited.Step(tag="next", order="x", number=1))
    made.wait_for_records("next", 1, "stepped")
    nothing_is_held(made)


def test_cancel_consumer_means_what_was_fetched_too(made: Rig) -> None:
    """It goes back to the queue, and another worker runs it. RabbitMQ sends the command behind what it sent before."""
    worker = worker_of(made)
    with all_at_once(made):
        made.emit_many([limited.Mail(tag="a", tenant=str(number)) for number in range(20)])
    made.wait_for_records("a", 1, "in")
    made.system.celery.control.cancel_consumer(made.queue)
    made.open_gate("a")
    wait_until(lambda: made.unacknowledged() == 0, what="the worker to hold nothing")
    ran = len(made.records("a", "out"))
    assert ran + made.queue_length() == 20
    assert ran < 20 or made.rabbitmq is not None
    assert worker.terminate() == 0
    worker_of(made)
    made.wait_for_records("a", 20, "out")
    nothing_is_held(made)


@pytest.mark.parametrize(
    ("part", "instead", "reason"),
    [
        pytest.param(b'"key":3', b'"key":"none"', "undecodable", id="undecodable"),  # which no early question is for
        pytest.param(b'"hops":0', b'"hops":99', "too_many_hops", id="too many hops"),  # found after it
    ],
)
def test_bad_ones_hold_no_place(made: Rig, part: bytes, instead: bytes, reason: str) -> None:
    """Between good ones: each of them is a dead letter, and the good ones run."""
    worker_of(made)
    with all_at_once(made):
        for _ in range(10):
            made.emit_many([limited.Quick(tag="a") for _ in range(3)])
            [message] = made.messages_of(limited.Quick(tag="bad", key=3))
            assert part in message.body
            made.system.emitter.publish([replace(message, body=message.body.replace(part, instead))])
    made.wait_for_records("a", 30)
    wait_until(lambda: len(made.letters()) == 10, 30, "their dead letters")
    assert {letter.reason for letter in made.letters()} == {reason}
    nothing_is_held(made)


def test_a_worker_that_stops_leaves_what_it_has_received(made: Rig) -> None:
    """Another one runs all of it, and no place is taken meanwhile."""
    first = worker_of(made)
    made.emit_many([limited.Quick(tag="a", key=number % 5) for number in range(1000)])
    made.wait_for_records("a", 5)
    assert first.terminate() == 0
    nothing_is_held(made)
    worker_of(made)
    made.wait_for_records("a", 1000, timeout=60)
    nothing_is_held(made)
    assert made.letters() == []
