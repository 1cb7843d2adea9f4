"""What a fresh reader found at the edges of a run: each of these lost a delivery, or went round for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import outliving
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", params=["rabbitmq-threads", "redis-prefork"])
def made(request: pytest.FixtureRequest, redis_server: Any, rabbitmq_server: Any) -> Iterator[Rig]:
    broker, pool = request.param.split("-")
    with rig(outliving, broker, redis_server, rabbitmq_server) as made:
        made.worker(pool, 2, env={"TEST_WORKER": "1"})
        yield made


def test_a_task_that_outlives_its_handler_emits(made: Rig) -> None:
    """What is emitted after the run is over is published, not held back for a success that has been."""
    made.emit(outliving.Begun(tag="outlives"))
    made.wait_for_records("outlives", 1, "begun")
    made.open_gate("outlives")
    made.wait_for_records("outlives", 1, "later")


def test_a_payload_that_looks_like_one_of_kombus_types(made: Rig) -> None:
    """kombu's JSON would make a datetime of it: the handler sees what was emitted."""
    value = {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"}
    made.emit(outliving.Typed(tag="typed", value=value))
    (seen,) = made.wait_for_records("typed", 1, "seen")
    assert seen["value"] == value


def test_a_validator_that_fails_unusually(made: Rig) -> None:
    """pydantic lets a KeyError of a validator through: a dead letter, not a message that goes round for ever."""
    made.emit(outliving.Picky(tag="picky secret"))
    (letter,) = wait_until(lambda: [one for one in made.letters() if one.event_type == "outliving.picky"])
    assert (letter.reason, letter.error_type) == ("undecodable", "KeyError")
    assert "secret" not in letter.error


@pytest.mark.parametrize("headers", [{"stamped_headers": 5}, {"timelimit": [1e308, "soon"]}, {"expires": 7}])
def test_headers_that_celery_stumbles_over(made: Rig, headers: dict[str, Any]) -> None:
    """A message with them is handled or a dead letter, and the worker serves on."""
    tag = f"headers {next(iter(headers))}"
    event = outliving.Typed(tag=tag, value={})
    (message,) = made.messages_of(event)
    message.headers.update(headers)
    made.system.emitter.publish([message])
    wait_until(lambda: made.records(tag) or [one for one in made.letters() if one.error_type == "InvalidTaskError"])
    made.emit(outliving.Typed(tag=f"after {tag}", value={}))
    made.wait_for_records(f"after {tag}", 1, "seen")
