"""Topic exchanges on RabbitMQ: mandatory and confirmed, one wait for a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import amqp
import kombu

from events_core.brokers.base import IntegrationMessage, Receiver, Subscription
from events_core.brokers.exchange.amqp_receiver import AMQPReceiver
from events_core.brokers.exchange.amqp_topology import Topology
from events_core.brokers.exchange.kombu_payload import encoding_of
from events_core.errors import ConfigurationError
from events_core.publishing.amqp_batches import AMQPBatches, unanswered
from events_core.publishing.amqp_connection import ERRORS, open_connection
from events_core.publishing.base import Deadline
from events_core.publishing.confirms import Outgoing

_Needed = tuple[Literal["queue", "exchange"], str]
#: Seconds that each answer to a declaration may take.
_PATIENCE = 5.0


class AMQPExchange:
    """See `Exchange`. connection: it is never opened itself."""

    def __init__(self, connection: kombu.Connection, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._batches: AMQPBatches[_Needed] = AMQPBatches(connection, self._declare, "message_id", _reason)

    def start(self) -> None:
        """See `Exchange`."""
        self._once(lambda channel: None)

    def publish(
        self, messages: Sequence[IntegrationMessage], deadline: Deadline, queue: str | None = None
    ) -> list[IntegrationMessage]:
        """See `Exchange`."""
        outgoing = [_outgoing(message, queue) for message in messages]
        needed: set[_Needed] = {("queue", queue)} if queue else {("exchange", message.topic) for message in messages}
        batch = self._batches.publish(messages, outgoing, needed, deadline, to_queues=bool(queue))
        unroutable = batch.unroutable()
        if len(batch.refused) > len(unroutable):
            raise batch.error("RabbitMQ refused")
        return [messages[index] for index in unroutable]

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]]) -> None:
        """See `Exchange`."""

        def declare(channel: Any) -> None:
            self._topology.bind(channel, subscription)
            self._topology.unbind(channel, subscription.queue, obsolete - subscription.bindings)

        self._once(declare)

    def delete(self, subscription: Subscription) -> None:
        """See `Exchange`."""
        self._once(lambda channel: channel.queue_delete(subscription.queue))

    def receiver(self, subscription: Subscription, prefetch: int) -> Receiver:
        """See `Exchange`."""
        return AMQPReceiver(self._connection, self._topology, subscription, prefetch)

    def close(self) -> None:
        """See `Exchange`."""
        self._batches.close()

    def _declare(self, channel: Any, needed: _Needed) -> None:
        kind, name = needed
        (self._topology.queue if kind == "queue" else self._topology.exchange)(channel, name)

    def _once(self, action: Callable[[Any], None]) -> None:
        """On a connection of its own: what RabbitMQ refuses closes the channel."""
        try:
            connection = open_connection(self._connection, _PATIENCE)
            try:
                action(connection.channel())
                connection.close()
            finally:
                connection.collect()
        except (amqp.AccessRefused, amqp.NotAllowed) as error:
            raise ConfigurationError(f"RabbitMQ refuses us: {error}") from error
        except ERRORS as error:
            raise ConnectionError(f"RabbitMQ cannot be reached: {error}") from error


def _outgoing(message: IntegrationMessage, queue: str | None) -> Outgoing:
    content = amqp.Message(
        message.body,
        content_type=message.content_type,
        content_encoding=encoding_of(message.content_type),
        application_headers={**message.headers},
        delivery_mode=2,
        message_id=message.envelope.id,
        timestamp=int(message.occurred_at.timestamp()),
        type=message.envelope.type,
    )
    if queue is not None:
        return Outgoing(message.delivery, content, "", queue)
    return Outgoing(message.delivery, content, message.topic, message.routing_key)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigurationError) else unanswered(error)
