"""Topic exchanges on any other transport of kombu that has them: one message at a time, as sure as the transport is.

Transports that keep their bindings in the memory of each process (most of kombu's virtual ones) route only to queues
that were declared in the process that publishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import kombu
from kombu.transport import virtual

from events_core.brokers.base import IntegrationMessage, Receiver, Subscription
from events_core.brokers.exchange.kombu_payload import encoding_of
from events_core.brokers.exchange.kombu_receiver import KombuReceiver, declare, delete, topic_exchange
from events_core.errors import ConfigurationError, EmitError
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.pool import ConnectionPool
from events_core.settings import without_password


class KombuExchange:
    """See `Exchange`. connection: it is never opened itself. Raises ConfigurationError without topic exchanges."""

    def __init__(self, connection: kombu.Connection) -> None:
        self._connection = connection
        self._name = without_password(connection.as_uri())
        if "topic" not in connection.transport.implements.exchange_type:
            raise ConfigurationError(
                f"{self._name} has no topic exchanges: give ExchangeBroker a RabbitMQ (amqp://) or a Redis (redis://)"
            )
        self._errors = errors_of(connection)
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            lambda deadline: _Connection(connection, deadline), again=self._errors, final=()
        )

    def start(self) -> None:
        """See `Exchange`."""
        with self._once():
            pass

    def publish(
        self, messages: Sequence[IntegrationMessage], deadline: Deadline, queue: str | None = None
    ) -> list[IntegrationMessage]:
        """See `Exchange`."""
        try:
            connection = self._pool.take(deadline)
        except self._errors as error:
            raise unsent(f"{self._name} cannot be reached: {error}", messages) from error
        unroutable: list[IntegrationMessage] = []
        done = begun = 0  # how many messages
        try:
            for message in messages:
                deadline.remaining()
                connection.declare(queue, message.topic)
                begun += 1
                if queue is None and not connection.routes(message):
                    unroutable.append(message)
                else:
                    connection.publish(message, queue)
                done += 1
        except self._errors as error:
            self._pool.drop(connection)
            nowhere = [message.delivery for message in unroutable]
            deliveries = [message.delivery for message in messages]
            raise EmitError(
                f"{self._name} did not answer: {error}",
                confirmed=[delivery for delivery in deliveries[:done] if delivery not in nowhere],
                uncertain=deliveries[done:begun],
                unsent=[*nowhere, *deliveries[begun:]],
            ) from error
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        return unroutable

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]]) -> None:
        """See `Exchange`. Of most transports bindings cannot be removed but by deleting the queue."""
        with self._once() as channel:
            declare(channel, subscription)
            for topic, routing_key in sorted(obsolete - subscription.bindings):
                topic_exchange(topic)(channel).declare()
                channel.queue_unbind(subscription.queue, topic, routing_key)

    def delete(self, subscription: Subscription) -> None:
        """See `Exchange`."""
        with self._once() as channel:
            declare(channel, subscription)
            delete(channel, subscription)

    def receiver(self, subscription: Subscription, prefetch: int) -> Receiver:
        """See `Exchange`."""
        return KombuReceiver(self._connection, self._name, subscription, prefetch)

    def close(self) -> None:
        """See `Exchange`."""
        self._pool.close()

    @contextmanager
    def _once(self) -> Iterator[Any]:
        connection = self._connection.clone()
        try:
            yield connection.channel()
        except self._errors as error:
            raise ConnectionError(f"{self._name} cannot be reached: {error}") from error
        finally:
            connection.release()


class _Connection:
    """One kombu connection with one channel."""

    def __init__(self, template: kombu.Connection, deadline: Deadline) -> None:
        self._connection = template.clone(connect_timeout=deadline.remaining())
        self._channel = self._connection.channel()
        self._producer = self._connection.Producer(self._channel)
        self._declared: set[str] = set()

    def declare(self, queue: str | None, topic: str) -> None:
        name = queue or topic
        if name in self._declared:
            return
        (kombu.Queue(queue, durable=True) if queue else topic_exchange(topic))(self._channel).declare()
        self._declared.add(name)

    def routes(self, message: IntegrationMessage) -> bool:
        """Whether a queue is bound to it, where the transport knows."""
        channel = self._channel
        if not isinstance(channel, virtual.Channel):
            return True
        try:
            table = channel.get_table(message.topic)
        except KeyError:
            return False
        return bool(channel.typeof(message.topic).lookup(table, message.topic, message.routing_key, None))

    def publish(self, message: IntegrationMessage, queue: str | None) -> None:
        self._producer.publish(
            message.body,
            exchange="" if queue else message.topic,
            routing_key=queue or message.routing_key,
            content_type=message.content_type,
            content_encoding=encoding_of(message.content_type),
            headers={**message.headers},
            delivery_mode=2,
            message_id=message.envelope.id,
            type=message.envelope.type,
            timestamp=int(message.occurred_at.timestamp()),
        )

    def is_stale(self) -> bool:
        return not self._connection.connected

    def close(self) -> None:
        try:
            self._connection.release()
        except Exception:
            pass  # it is lost anyway

    def abandon(self) -> None:
        self._connection.collect()


def errors_of(connection: kombu.Connection) -> tuple[type[Exception], ...]:
    """What connections like this raise."""
    transport = connection.transport
    return (*transport.connection_errors, *transport.channel_errors, kombu.exceptions.OperationalError, OSError)
