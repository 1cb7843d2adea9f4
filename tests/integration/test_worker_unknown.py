"""What a worker does not know yet is held, and done by one that does: a rolling deploy loses nothing."""

from __future__ import annotations

from typing import Any

import pytest

from events_worker.dead_letters.redrive import redrive
from tests.apps import deploying
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

NEW_HANDLER = "tests.apps.deploying.new_handler"


def emit_all(made: Rig) -> dict[str, str]:
    """One delivery of each kind that the old worker does not know; their handlers by event id."""
    emissions = {
        "handler": made.emit(deploying.Known(tag="deploy")),
        "type": made.emit(deploying.LaterNew(tag="type")),
        "version": made.emit(deploying.LaterSecond(tag="version")),
    }
    return {kind: str(emission.event_id) for kind, emission in emissions.items()}


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_rolling_deploy(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """A new handler, a new event type and a new version, taken by an old worker first: held in Redis, with nothing
    left on the queue or in the worker, and done once each when a worker that knows them starts; none counts as tried.
    """
    with rig(deploying, broker, redis_server, rabbitmq_server) as made:
        made.worker("threads", 2, env={"TEST_DEPLOY": "old"})
        emit_all(made)
        made.wait_for_records("deploy", 1, "old_handler")
        wait_until(lambda: made.scheduled() == 3, what="three held deliveries")
        made.wait_for_rest()
        made.kill_workers()
        assert (made.scheduled(), made.queue_length()) == (3, 0)
        made.worker("threads", 2)
        made.wait_for_records("deploy", 1, "new_handler")
        made.wait_for_records("type", 1)
        (version,) = made.wait_for_records("version", 1)
        assert version["version"] == 2
        wait_until(lambda: made.scheduled() == 0, what="an empty schedule")
        made.wait_for_rest()
        assert [len(made.records(tag)) for tag in ("deploy", "type", "version")] == [2, 1, 1]
        assert made.letters() == []


def test_what_nobody_knows_is_dead_after_the_grace_and_redriven_once_somebody_does(
    redis_server: Any, rabbitmq_server: Any
) -> None:
    """UNKNOWN_GRACE of 1 s and no new worker: three dead letters with their reasons, never started; after the
    deploy a redrive brings each to its handler.
    """
    with rig(deploying, "rabbitmq", redis_server, rabbitmq_server, unknown_grace=1.0) as made:
        made.worker("prefork", 1, env={"TEST_DEPLOY": "old"})
        ids = emit_all(made)
        wait_until(lambda: len(made.letters()) == 3, what="three dead letters")
        letters = {letter.event_id: letter for letter in made.letters()}
        reasons = {kind: letters[event_id].reason for kind, event_id in ids.items()}
        assert reasons == {"handler": "unknown_handler", "type": "unknown_event", "version": "unknown_event"}
        assert letters[ids["handler"]].handler == NEW_HANDLER
        assert "only 1" in letters[ids["version"]].error
        for letter in letters.values():
            assert letter.event_type is not None
            assert letter.dead_at - letter.first_at >= 1.0
            assert letter.starts == 0
        made.wait_for_rest()
        made.kill_workers()
        made.worker("threads", 2)
        for letter in letters.values():
            assert redrive(made.system, made.dead, letter)
        for tag, what in (("deploy", "new_handler"), ("type", "any_later"), ("version", "any_later")):
            made.wait_for_records(tag, 1, what)
        assert made.letters() == []
