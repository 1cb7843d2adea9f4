"""Servers that are away while a worker listens: it serves what it can, loses nothing, and goes on by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps import subscribing as app
from tests.apps.harness import Rig
from tests.apps.subscription_rig import SubscriptionRig, subscription_rig
from tests.support.waiting import wait_until


def test_the_message_broker_is_down_when_the_worker_starts(redis_url: str, own_redis_server: Any) -> None:
    """The worker serves its own deliveries meanwhile, and listens once the broker is there. It is killed and comes back
    with events in its queues: all are handled.
    """
    made = Rig(app, redis_url, redis_url, redis_url)
    sub = SubscriptionRig(made, own_redis_server.url())
    try:
        own_redis_server.stop()
        worker = sub.worker("threads", 2, listening=False)
        worker.wait_for_log(r"the subscription \S+ waits, again in")
        made.emit(app.Packed(tag="domain"))
        made.wait_for_records("domain", 1, "packed")
        own_redis_server.start()
        sub.wait_until_bound({"order.cancelled", "order.approved", "order.labelled"})
        sub.orders.emit(app.Confirmed(tag="first"))
        made.wait_for_records("first", 1, "shipped")
        own_redis_server.kill()
        own_redis_server.start()
        sub.orders.emit_many([app.Confirmed(tag="second", number=number + 10) for number in range(5)])
        made.wait_for_records("second", 5, "shipped")
        assert worker.alive
        assert worker.terminate() == 0
    finally:
        sub.close()
        made.close()


@pytest.mark.contract
def test_a_restart_of_rabbitmq(redis_url: str, own_rabbitmq_server: Any) -> None:
    """Celery's broker and the message broker in one, restarted with events in it: every one is handled once."""
    made = Rig(app, own_rabbitmq_server.url(), redis_url, redis_url)
    sub = SubscriptionRig(made, own_rabbitmq_server.url())
    try:
        worker = sub.worker("threads", 2)
        sub.orders.emit_many([app.Confirmed(tag="t", number=number + 10) for number in range(50)])
        own_rabbitmq_server.restart()
        sub.orders.emit_many([app.Confirmed(tag="t", number=number + 10) for number in range(50, 100)])
        made.wait_for_records("t", 200, timeout=60)
        shipped = [line["number"] for line in made.wait_for_records("t", 100, "shipped", timeout=60)]
        assert sorted(shipped) == [*range(10, 110)]
        assert worker.alive
    finally:
        sub.close()
        made.close()


def test_an_outage_of_the_coordination_redis(own_redis_server: Any, redis_url: str, amqp_url: str) -> None:
    """Dead letters cannot be kept, deliveries not be asked about: nothing is acknowledged, and all of it is there once
    the Redis is back.
    """
    made = Rig(app, amqp_url, own_redis_server.url(), redis_url)
    sub = SubscriptionRig(made, amqp_url)
    try:
        worker = sub.worker("threads", 2)
        own_redis_server.stop()
        sub.put(b"garbage")
        sub.orders.emit_many([app.Confirmed(tag="t", number=number + 10) for number in range(5)])
        worker.wait_for_log(r"the subscription \S+ waits, again in")
        assert made.records("t", "shipped") == []
        own_redis_server.start()
        made.wait_for_records("t", 5, "shipped")
        wait_until(lambda: len(made.letters(reason="undecodable")) == 1, what="the dead letter")
        assert sorted(line["number"] for line in made.records("t", "shipped")) == [*range(10, 15)]
    finally:
        sub.close()
        made.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_stops_cleanly(pool: str, redis_server: Any) -> None:
    """SIGTERM while it listens to quiet queues: it ends by itself, with exit code 0, and is no consumer any more."""
    with subscription_rig("redis", redis_server) as sub:
        worker = sub.worker(pool, 1)
        wait_until(sub.consumers, what="the worker to say that it listens")
        assert worker.terminate() == 0
        assert sub.consumers() == []


def test_without_a_message_broker_the_worker_does_not_start(redis_server: Any) -> None:
    """Subscribers that hear nothing are a mistake, told at once: the worker ends, and says what to do."""
    with subscription_rig("redis", redis_server) as sub:
        worker = sub.rig.worker("threads", 1, env={app.KIND: "none"}, ready=False)
        assert worker.wait() != 0
        assert "need a message broker: give EventSystem(..., message_broker=...)" in worker.log
