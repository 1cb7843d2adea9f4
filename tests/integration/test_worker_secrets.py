"""Payloads stay out of what people read: logs, task events, listings of tasks and of dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps import telling
from tests.apps.harness import rig
from tests.support.listening import listening
from tests.support.waiting import wait_until

CARD = "4242-hunter2-4242"


@pytest.mark.parametrize("broker, pool", [("redis", "prefork"), ("rabbitmq", "threads")])
def test_no_payload_in_logs_task_events_and_dead_letters(
    broker: str, pool: str, redis_server: Any, rabbitmq_server: Any
) -> None:
    """At DEBUG, with task events on, handlers that fail with the secret in their message, return it, and pass it on:
    the secret is nowhere but in the event itself.
    """
    with rig(telling, broker, redis_server, rabbitmq_server) as made:
        worker = made.worker(pool, 2, extra=["-l", "DEBUG", "-E"])
        heard: list[dict[str, Any]] = []
        with listening(made.system.celery, heard):
            made.emit(telling.Paid(tag="card", card=CARD))
            wait_until(lambda: len(made.letters()) == 2, what="two dead letters")
            ends = {"task-succeeded": 2, "task-failed": 2, "task-retried": 1}
            wait_until(lambda: {kind: _count(heard, kind) for kind in ends} == ends, what=f"{ends} in {heard!r}")
        assert CARD not in repr(heard)
        assert any("telling.paid " in str(one.get("args")) for one in heard)
        for letter in made.letters():
            assert CARD not in letter.error + letter.traceback
            assert "***" in letter.traceback
        shown = made.events("dead", "list", "--json").stdout
        assert "telling.declined" in shown
        assert CARD not in shown
        worker.terminate()
        assert "telling.declined" in worker.log
        assert "DEBUG" in worker.log
        assert CARD not in worker.log, [line for line in worker.log.splitlines() if CARD in line][:3]


def _count(heard: list[dict[str, Any]], kind: str) -> int:
    return sum(one["type"] == kind for one in heard)
