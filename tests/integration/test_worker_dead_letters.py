"""Dead letters: what each tells, what ends there by an operator's hand or Celery's, and the way back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events_core.ids import delivery_id
from events_worker.dead_letters.redrive import redrive
from tests.apps import dying
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

APP = "tests.apps.dying"


@pytest.fixture(scope="module")
def system(redis_server: Any, rabbitmq_server: Any) -> Iterator[Rig]:
    with rig(dying, "rabbitmq", redis_server, rabbitmq_server) as made:
        made.worker("prefork", 2)
        yield made


def test_a_dead_letter_says_all_that_is_known(system: Rig) -> None:
    """`events dead list --json`: which event, which handler, why, how often started, when; no payload."""
    begun = time.time()
    event = dying.Failed(tag="fields", secret="hunter2")
    emission = system.emit(event)
    letter = system.letter_of(emission)
    ran = system.events("dead", "list", "--handler", f"{APP}.fails_until_open", "--json")
    assert ran.returncode == 0, ran.stderr
    (shown,) = [one for one in json.loads(ran.stdout) if one["event_id"] == str(event.event_id)]
    assert shown["id"] == letter.id == emission.deliveries[0].task_id
    assert (shown["event_type"], shown["version"]) == ("dying.failed", 1)
    assert (shown["handler"], shown["reason"], shown["starts"]) == (f"{APP}.fails_until_open", "exhausted", 2)
    assert shown["error"] == "no route to *** in start 2"
    first, dead = (datetime.fromisoformat(shown[name]).timestamp() for name in ("first_at", "dead_at"))
    assert begun - 0.1 <= first < dead <= time.time() + 0.1
    assert "hunter2" not in ran.stdout
    kept = letter.stored_message()
    assert kept is not None
    assert "hunter2" in kept.body  # whole, so that it can be sent again


def test_a_redrive_is_the_next_generation_and_two_are_one(system: Rig) -> None:
    """Same event, another delivery id, fresh attempts; a letter that is redriven twice runs once."""
    emission = system.emit(dying.Failed(tag="redriven"))
    letter = system.letter_of(emission)
    system.open_gate("redriven")
    new_id = redrive(system.system, system.dead, letter)
    assert new_id == delivery_id(emission.event_id, letter.handler or "", 1) != letter.id
    assert redrive(system.system, system.dead, letter) is None
    system.wait_for_records("redriven", 1, "worked")
    assert system.letters(ids=(str(emission.event_id),)) == []
    again = system.events("dead", "redrive", letter.id, "--yes")
    assert "no" in again.stdout + again.stderr
    system.wait_for_rest()
    assert len(system.records("redriven", "fails_until_open")) == 3


def test_a_redriven_delivery_may_die_again_and_be_redriven_again(system: Rig) -> None:
    """Each generation has its own letter, all of one event, each with attempts of its own."""
    emission = system.emit(dying.Failed(tag="twice"))
    ids: set[str] = set()

    def newest() -> Any:
        return [letter for letter in system.letters(ids=(str(emission.event_id),)) if letter.id not in ids]

    for generation in range(3):
        (letter,) = wait_until(newest, what=f"the letter of generation {generation}")
        assert (letter.generation, letter.starts, letter.reason) == (generation, 2, "exhausted")
        ids.add(letter.id)
        redrive(system.system, system.dead, letter)
    assert len(ids) == 3


def test_a_message_of_a_settled_generation_does_nothing(system: Rig) -> None:
    """The redriven message delivered a second time (a double click, a broker's repeat) is acknowledged, not run."""
    emission = system.emit(dying.Failed(tag="double"))
    letter = system.letter_of(emission)
    system.open_gate("double")
    redrive(system.system, system.dead, letter)
    system.wait_for_records("double", 1, "worked")
    system.dead.keep(letter)  # as one sees it whose list is older than the other's redrive
    redrive(system.system, system.dead, letter)
    sentinel = system.emit(dying.Failed(tag="sentinel"))
    system.letter_of(sentinel)
    assert len(system.records("double", "worked")) == 1


def test_old_letters_are_forgotten_after_the_retention(system: Rig) -> None:
    """DEAD_RETENTION (30 days): older ones are pruned, newer ones stay."""
    emission = system.emit(dying.Failed(tag="retention"))
    letter = system.letter_of(emission)
    client, key = system.parts.coordination.client, system.parts.coordination.key("dead")
    assert client.zscore(key, letter.id) == pytest.approx(letter.dead_at)
    system.dead.prune()
    assert system.letters(ids=(letter.id,)) != []
    client.zadd(key, {letter.id: time.time() - 30 * 86400 - 1})
    assert system.dead.prune() == 1
    assert system.dead.get(letter.id) is None


def test_headers_that_are_no_json_lose_nothing(system: Rig) -> None:
    """AMQP headers may hold times and bytes, as tracing tools put there: the delivery is retried, and dead, as any."""
    event = dying.Failed(tag="headers")
    (message,) = system.messages_of(event)
    message.headers |= {"trace-time": datetime.now(UTC), "trace-bytes": b"\xff\xfe"}
    system.system.emitter.publish([message])
    letter = system.letter(ids=(str(event.event_id),))
    assert (letter.reason, letter.starts) == ("exhausted", 2)


# --- what Celery would acknowledge behind our back


def test_revoked_before_it_ran(system: Rig) -> None:
    """`celery control revoke` while all slots are taken: a dead letter, never started, that can be redriven."""
    busy = [system.emit(dying.Held(tag="busy")) for _ in range(2)]
    system.wait_for_records("busy", 2)
    emission = system.emit(dying.Held(tag="revoked"))
    task_id = emission.deliveries[0].task_id
    assert "OK" in system.control("control", "revoke", task_id)
    system.open_gate("busy")
    letter = system.letter_of(emission)
    assert (letter.reason, letter.starts, letter.id) == ("revoked", 0, task_id)
    assert system.records("revoked") == []
    assert all(system.letters(ids=(str(one.event_id),)) == [] for one in busy)
    system.open_gate("revoked")
    redrive(system.system, system.dead, letter)
    system.wait_for_records("revoked", 1, "waited")


def test_terminated_while_it_ran(system: Rig) -> None:
    """`revoke(terminate=True)` kills the child that runs it: a dead letter, started once, and never started again."""
    emission = system.emit(dying.Held(tag="terminated"))
    system.wait_for_records("terminated", 1)
    task_id = emission.deliveries[0].task_id
    system.system.celery.control.revoke(task_id, terminate=True, signal="SIGKILL")
    letter = system.letter_of(emission)
    assert (letter.reason, letter.starts, letter.id) == ("terminated", 1, task_id)
    system.open_gate("after")
    system.emit(dying.Held(tag="after"))
    system.wait_for_records("after", 1, "waited")  # the worker serves
    system.wait_for_rest()
    assert len(system.records("terminated")) == 1


def test_expired_on_the_queue(system: Rig) -> None:
    """A message whose `expires` has passed: not run, and not gone either."""
    system.open_gate("expired")
    event = dying.Held(tag="expired")
    (message,) = system.messages_of(event)
    message.headers["expires"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    system.system.emitter.publish([message])
    letter = system.letter(ids=(str(event.event_id),))
    assert (letter.reason, letter.starts) == ("expired", 0)
    assert system.records("expired") == []
    redrive(system.system, system.dead, letter)
    system.wait_for_records("expired", 1, "waited")  # the expiry is not sent again


@pytest.mark.contract
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_child_stuck_in_c_code_is_ended_and_the_delivery_dead_within_three_starts(
    broker: str, redis_server: Any, rabbitmq_server: Any
) -> None:
    """Where no signal handler runs, the hard limit kills the child, the message comes back, and the delivery is
    poison within three starts; its neighbour's delivery is done.
    """
    with rig(dying, broker, redis_server, rabbitmq_server) as made:
        made.env = {"TEST_GRACE": "4.5"}
        worker = made.worker("prefork", 2)
        made.open_gate("fine")
        emission = made.emit(dying.Stuck(tag="stuck"))
        made.emit(dying.Held(tag="fine"))
        made.wait_for_records("fine", 1, "waited")
        letter = made.letter_of(emission, timeout=60)
        assert letter.reason == "poison"
        assert letter.starts == len(made.records("stuck")) <= 3
        assert worker.alive
        made.wait_for_rest()
