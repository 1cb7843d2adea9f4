"""Events that handlers make: held back until success, linked to their cause, and the same in every attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.apps import following
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", params=["redis-threads", "rabbitmq-prefork"])
def system(request: pytest.FixtureRequest, redis_server: Any, rabbitmq_server: Any) -> Iterator[Rig]:
    broker, pool = request.param.split("-")
    with rig(following, broker, redis_server, rabbitmq_server, max_hops=6) as made:
        made.worker(pool, 2)
        yield made


def test_returned_and_emitted_events_follow_their_cause(system: Rig) -> None:
    """Each follow-up arrives, with its cause's correlation, its cause as causation, and one hop more."""
    started = following.Started(tag="follow")
    emission = system.emit(started)
    heard = {line["how"]: line for line in system.wait_for_records("follow", 4, "heard")}
    assert set(heard) == {"now", "emitted", "awaited", "returned"}
    for line in heard.values():
        assert line["correlation_id"] == line["causation_id"] == str(started.event_id)
        assert line["hops"] == 1
        assert line["parent_id"] == emission.deliveries[0].task_id


def test_a_failed_attempt_emits_nothing_but_what_was_not_to_wait(system: Rig) -> None:
    """Two failed attempts: only `now=True` got out of them; the third emits everything, once."""
    system.emit(following.Started(tag="failed", fails=2))
    (done,) = system.wait_for_records("failed", 1, "about to succeed")
    system.wait_for_records("failed", 6, "heard")
    heard = system.records("failed", "heard")
    assert sorted(line["attempt"] for line in heard if line["how"] == "now") == [1, 2, 3]
    held_back = [line for line in heard if line["how"] != "now"]
    assert sorted((line["how"], line["attempt"]) for line in held_back) == [
        ("awaited", 3),
        ("emitted", 3),
        ("returned", 3),
    ]
    assert all(line["at"] > done["at"] for line in held_back)


def test_a_delivery_that_never_succeeds_emits_nothing(system: Rig) -> None:
    """Dead: no event that its attempts wanted to follow has got out."""
    emission = system.emit(following.Started(tag="never", fails=99))
    system.letter_of(emission, "makes_events")
    system.wait_for_records("never", 3, "heard")
    system.wait_for_rest()
    assert {line["how"] for line in system.records("never", "heard")} == {"now"}


def test_ids_of_follow_ups_are_the_same_in_every_attempt_and_sort_after_their_cause(system: Rig) -> None:
    """A repeat is recognised downstream by its id, and sorting by id puts events after what caused them."""
    started = following.Started(tag="ids", fails=2)
    system.emit(started)
    attempts = [line["ids"] for line in system.wait_for_records("ids", 3, "ids")]
    assert attempts[0] == attempts[1] == attempts[2]
    assert [str(started.event_id), *attempts[0]] == sorted([str(started.event_id), *attempts[0]])
    assert all(UUID(made).version == 7 for made in attempts[0])
    assert len(set(attempts[0])) == 4


def test_events_that_cause_each_other_end_as_a_dead_letter_that_names_the_chain(system: Rig) -> None:
    """A circle of two handlers stops after MAX_HOPS; the letter shows who called whom."""
    system.emit(following.Ping(tag="circle"))
    letter = system.letter(reason="too_many_hops")
    said = [line["what"] for line in system.records("circle")]
    assert said == ["ping", "pong"] * 3 + ["ping"]  # hops 0 to 6
    assert letter.handler == "tests.apps.following.serves"
    assert "MAX_HOPS (6)" in letter.error
    assert "following.ping > following.pong > following.ping" in letter.error
    assert letter.starts == 0
    system.wait_for_rest()
    wait_until(lambda: system.scheduled() == 0, what="nothing left to come")
