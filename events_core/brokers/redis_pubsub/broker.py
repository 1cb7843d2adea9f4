"""Integration events by Redis Pub/Sub: who listens at that moment hears them, and nobody else ever does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio

from events_core.brokers.base import Format, FormatName, IntegrationMessage, Promises, Subscription
from events_core.brokers.redis_base import RedisBroker
from events_core.brokers.redis_pubsub.receiver import RedisPubSubReceiver
from events_core.brokers.unheard import Unheard

logger = logging.getLogger(__name__)


class RedisPubSubBroker(RedisBroker):
    """Publishes on the channel ``{prefix}:{message_type}:{message_id}``, by default as diator does: in its format.

    ``PSUBSCRIBE python_diator_channel:notification_event:*`` hears every notification event. The channel does not
    tell the topic: a subscriber to any topic gets the event types that it asked for from all of them.
    An event that nobody hears is gone; it is told of in the log, once for each type.

    url: see `RedisBroker`. channel_prefix: what the channels begin with.
    """

    promises = Promises("at most once", durable=False, ordered=True, shared=False, routed=True, tells_unroutable=True)

    def __init__(
        self,
        url: str | redis.Redis | redis.asyncio.Redis | None = None,
        *,
        channel_prefix: str = "python_diator_channel",
        format: FormatName | Format = "classic",
    ) -> None:
        super().__init__(url, format)
        self._prefix = channel_prefix
        self._unheard = Unheard("Pub/Sub keeps nothing, so it is gone")
        self._told: set[str] = set()

    def address(self, topic: str, message_type: str) -> str:
        """See `MessageBroker.address`: a channel for each event, whatever its topic."""
        return f"{self._prefix}:{message_type}:{{message_id}}"

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Nothing is kept in Redis. A subscription that is to last is told of in the log: it cannot."""
        if subscription.lasting and subscription.queue not in self._told:
            self._told.add(subscription.queue)
            logger.warning(
                "queue %s is on Redis Pub/Sub, which keeps nothing: events are missed while no consumer listens, and "
                "each consumer gets every event",
                subscription.queue,
            )

    def delete(self, subscription: Subscription) -> None:
        """Nothing is kept in Redis."""

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> RedisPubSubReceiver:
        """See `MessageBroker.receiver`. Listens from the first `receive` on."""
        return RedisPubSubReceiver(self.connections, self.format, self._prefix, subscription, prefetch)

    def _command(self, message: IntegrationMessage) -> tuple[Any, ...]:
        envelope = message.envelope
        return ("PUBLISH", f"{self._prefix}:{envelope.kind}:{envelope.id}", message.body)

    def _published(self, messages: Sequence[IntegrationMessage], replies: Sequence[Any]) -> None:
        unheard = {(m.topic, m.routing_key) for m, count in zip(messages, replies, strict=True) if not count}
        self._unheard.heard({(m.topic, m.routing_key) for m in messages} - unheard)
        if unheard:
            self._unheard.unheard(unheard)
