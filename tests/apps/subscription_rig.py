"""A subscribing service under test, and the order service in the test's process that it hears."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from events_core import EventSystem
from events_core.brokers import ExchangeBroker, IntegrationMessage
from events_core.envelope import Envelope
from events_core.publishing.messages import Delivery
from events_worker.subscriptions.keys import queues_key
from events_worker.subscriptions.tally import consumers_of, counts_of
from events_worker.subscriptions.topology import declared_bindings
from tests.apps import subscribing
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until


class SubscriptionRig:
    """The subscribing application with its rig, and `orders`, which emits.

    url: of the message broker, which is the Celery broker too, unless another one is given.
    """

    def __init__(self, made: Rig, url: str) -> None:
        self.rig = made
        self.url = url
        made.env[subscribing.URL] = url
        self.broker = ExchangeBroker(url)
        self.orders = EventSystem(
            "orders", broker_url=made.broker_url, redis_url=made.redis_url, message_broker=self.broker
        )

    def queue(self, topic: str) -> str:
        return f"{self.rig.name}.{topic}"

    def worker(self, pool: str = "threads", concurrency: int = 4, *, listening: bool = True, **options: Any) -> Any:
        """A worker; listening: wait until all its queues are bound."""
        worker = self.rig.worker(pool, concurrency, **options)
        if listening:
            self.wait_until_bound()
        return worker

    def wait_until_bound(self, event_types: set[str] | None = None) -> None:
        """Until workers have declared all queues; event_types: and bound that of orders by these alone."""
        coordination = self.rig.parts.coordination
        wanted = {self.queue("orders"), self.queue("crm"), "slow.orders"}

        def look() -> bool:
            bound = declared_bindings(coordination, self.queue("orders"))
            types = {routing_key.partition(".")[2] for _, routing_key in bound}
            known: set[str] = coordination.client.smembers(queues_key(coordination))  # type: ignore[assignment]
            return known >= wanted and event_types in (None, types)

        wait_until(look, what=f"{', '.join(wanted)} to be declared")

    def consumers(self, topic: str = "orders") -> list[str]:
        return consumers_of(self.rig.parts.coordination, self.queue(topic))

    def counts(self, topic: str = "orders") -> dict[str, int]:
        return counts_of(self.rig.parts.coordination, self.queue(topic))

    def put(
        self,
        body: bytes,
        event_type: str = "order.approved",
        *,
        topic: str = "orders",
        kind: str = "notification_event",
        content_type: str = "application/json",
    ) -> None:
        """What anyone else may publish."""
        self.put_many([body], event_type, topic=topic, kind=kind, content_type=content_type)

    def put_many(
        self,
        bodies: list[bytes],
        event_type: str = "order.approved",
        *,
        topic: str = "orders",
        kind: str = "notification_event",
        content_type: str = "application/json",
    ) -> None:
        self.broker.publish([_message(body, topic, kind, event_type, content_type) for body in bodies], 5.0)

    def close(self) -> None:
        self.rig.kill_workers()
        self.orders.close()


def _message(body: bytes, topic: str, kind: str, event_type: str, content_type: str) -> IntegrationMessage:
    seed = subscribing.Confirmed(tag="")
    envelope = Envelope.of(seed)
    envelope.kind, envelope.type = kind, event_type
    return IntegrationMessage(Delivery("", envelope.id, topic), envelope, body, content_type, seed.occurred_at)


@contextlib.contextmanager
def subscription_rig(
    broker: str, redis_server: Any, rabbitmq_server: Any = None, **settings: Any
) -> Iterator[SubscriptionRig]:
    """On the run's servers, emptied before; broker: redis or rabbitmq, for Celery and between the services."""
    with rig(subscribing, broker, redis_server, rabbitmq_server, **settings) as made:
        both = SubscriptionRig(made, made.broker_url)
        try:
            yield both
        finally:
            both.close()
