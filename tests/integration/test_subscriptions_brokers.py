"""Subscribers in a worker on the message brokers that are no exchanges: Redis streams of our own, and Pub/Sub."""

from __future__ import annotations

from typing import Any

import pytest

from events_core import EventSystem
from events_core.brokers import MessageBroker, RedisPubSubBroker, RedisStreamBroker
from tests.apps import subscribing as app
from tests.apps.subscription_rig import subscription_rig
from tests.support.waiting import wait_until


@pytest.mark.parametrize("kind, make", [("stream", RedisStreamBroker), ("pubsub", RedisPubSubBroker)])
def test_a_worker_listens(kind: str, make: type[RedisStreamBroker | RedisPubSubBroker], redis_server: Any) -> None:
    """Two workers on one queue: each event is handled once, though with Pub/Sub both hear it: the deliveries they make
    are the same ones. The formats of these brokers name no topic, or no version.
    """
    with subscription_rig("redis", redis_server) as sub:
        for _ in range(2):
            sub.worker("threads", 2, env={app.KIND: kind})
        broker: MessageBroker = make(sub.url)
        orders = EventSystem("orders2", broker_url=sub.rig.broker_url, message_broker=broker)
        try:

            def heard() -> bool:
                orders.emit(app.Confirmed(tag="warm"))
                return len({line["pid"] for line in sub.rig.records("warm", "shipped")}) > 1

            wait_until(heard, what="both workers to have handled something")
            orders.emit_many([app.Confirmed(tag="t", number=number + 10) for number in range(20)])
            sub.rig.wait_for_records("t", 20, "shipped")
            sub.rig.wait_for_records("t", 20, "booked")
            wait_until(lambda: sub.rig.scheduled() == 0 and sub.rig.queue_length() == 0, what="nothing to be left")
            assert sorted(line["number"] for line in sub.rig.records("t", "shipped")) == [*range(10, 30)]
            assert len(sub.rig.records("t", "ship")) == 20
            assert sub.rig.letters() == []
        finally:
            orders.close()
