"""How what a process takes over comes into its pool."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from events_core.correlation import correlating
from events_core.publishing.messages import Delivery, Message
from events_worker.tasks.pool_host import PoolHost


class Consumer:
    """Celery's, which takes from `q` and `q.granted`."""

    initial_prefetch_count = 4
    pool = SimpleNamespace(limit=8)

    def __init__(self) -> None:
        self.task_buckets: Any = defaultdict(lambda: None)
        self.task_consumer: Any = SimpleNamespace(consuming_from=lambda queue: queue in ("q", "q.granted"))


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


def message() -> Message:
    return Message(Delivery("mail", "a", "q.granted"), {"id": "a"}, b"[]")


def test_it_is_run_as_a_message_of_the_broker_in_a_context_of_its_own(consumer: Consumer) -> None:
    """It is begun where another run ends, whose correlation id its first log lines must not have."""
    found: list[Any] = []
    host = PoolHost(consumer)
    host.add("mail", lambda message, ack, reject: found.append((message, correlating.get(None))))
    before = correlating.set("another run's")
    try:
        assert host.run(message())
    finally:
        correlating.reset(before)
    [(received, correlation)] = found
    assert correlation is None
    assert received.delivery_info == {"exchange": "", "routing_key": "q.granted", "redelivered": False}
    assert (received.headers, received.body, received.content_type) == ({"id": "a"}, b"[]", "application/json")


def test_a_pool_that_was_closed(consumer: Consumer, caplog: pytest.LogCaptureFixture) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    host = PoolHost(consumer)
    host.add("mail", start)
    assert not host.run(message())
    assert "a, which was to run here, is parked again" in caplog.text


def test_what_it_runs(consumer: Consumer) -> None:
    host = PoolHost(consumer)
    host.add("mail", print)
    assert host.runs("mail", "q")
    assert not host.runs("print", "q")
    assert not host.runs("mail", "other")
    consumer.task_buckets["mail"] = object()
    assert not host.runs("mail", "q")  # `celery control rate_limit`: by Celery's own queue, which knows no threads
    consumer.task_buckets.clear()
    consumer.task_consumer = None
    assert not host.runs("mail", "q")  # its connection is lost


def test_its_room_is_what_it_would_fetch(consumer: Consumer) -> None:
    host = PoolHost(consumer)
    assert host.room == 4
    consumer.initial_prefetch_count = 0  # no bounds: as many as it can run
    assert host.room == 8
