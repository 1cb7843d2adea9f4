"""Receiving from a queue of any kombu transport."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import kombu

from events_core.brokers.base import Received, Subscription
from events_core.brokers.exchange.kombu_payload import received_from

#: Seconds between two looks at whether it was woken: kombu's wait cannot be ended from outside.
_MOMENT = 0.05


class KombuReceiver:
    """See `Receiver`. connection: it is never opened itself."""

    def __init__(
        self,
        connection: kombu.Connection,
        name: str,
        subscription: Subscription,
        prefetch: int,
    ) -> None:
        self._template = connection
        self._name = name
        self._subscription = subscription
        self._prefetch = prefetch
        self._woken = threading.Event()
        self._connection: kombu.Connection | None = None
        self._channel: Any = None
        self._messages: list[Received] = []
        self._open: dict[Any, None] = {}  # the tags of what is not settled, in order
        transport = connection.transport
        # ValueError: what a virtual transport raises for content that is none of kombu's
        self._errors = (*transport.connection_errors, *transport.channel_errors, OSError, ValueError)

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`."""
        until = monotonic() + timeout
        with self._losing():
            connection = self._connection or self._connect()
            while len(self._messages) < self._prefetch:
                left = until - monotonic()
                try:
                    connection.drain_events(timeout=0 if self._messages else max(min(left, _MOMENT), 0))
                except TimeoutError:
                    if self._messages or self._woken.is_set() or left <= 0:
                        break
        self._woken.clear()
        messages, self._messages = self._messages, []
        return messages

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """See `Receiver.acknowledge`."""
        with self._losing():
            for tag in self._settled(messages):
                self._channel.basic_ack(tag)

    def give_back(self, messages: Sequence[Received]) -> None:
        """See `Receiver.give_back`."""
        with self._losing():
            for tag in self._settled(messages):
                self._channel.basic_reject(tag, requeue=True)

    def _settled(self, messages: Iterable[Received]) -> list[Any]:
        """The tags of those that came by this connection and were not settled, which they are now."""
        own = [message.tag[1] for message in messages if message.tag[0] is self._channel]
        found = [tag for tag in own if tag in self._open]
        for tag in found:
            del self._open[tag]
        return found

    def wake(self) -> None:
        """See `Receiver.wake`."""
        self._woken.set()

    def close(self) -> None:
        """See `Receiver.close`."""
        connection, channel = self._connection, self._channel
        self._connection = self._channel = None
        if connection is None:
            return
        try:
            for tag in self._open:
                channel.basic_reject(tag, requeue=True)
            if not self._subscription.lasting:
                delete(channel, self._subscription)
            connection.release()
        except Exception:
            pass  # it is lost anyway

    def _connect(self) -> kombu.Connection:
        connection = self._template.clone()
        channel = connection.channel()
        declare(channel, self._subscription)
        channel.basic_qos(0, self._prefetch, False)
        queue = self._subscription.queue
        self._connection, self._channel, self._messages, self._open = connection, channel, [], {}
        channel.basic_consume(queue, no_ack=False, callback=self._took, consumer_tag=queue)
        return connection

    def _took(self, message: Any) -> None:
        taken = received_from(message)
        taken.tag = (self._channel, message.delivery_tag)
        self._open[message.delivery_tag] = None
        self._messages.append(taken)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            connection, self._connection, self._channel = self._connection, None, None
            if connection is not None:
                connection.collect()
            raise ConnectionError(f"queue {self._subscription.queue}: {self._name} is lost: {error}") from error


def topic_exchange(topic: str) -> kombu.Exchange:
    """How the exchange of a topic is declared."""
    return kombu.Exchange(topic, "topic", durable=True)


def declare(channel: Any, subscription: Subscription) -> None:
    """Make the queue, its exchanges and its bindings."""
    lasting = subscription.lasting
    kombu.Queue(subscription.queue, durable=lasting, auto_delete=not lasting)(channel).queue_declare()
    for topic, routing_key in sorted(subscription.bindings):
        topic_exchange(topic)(channel).declare()
        channel.queue_bind(subscription.queue, topic, routing_key)


def delete(channel: Any, subscription: Subscription) -> None:
    """Delete a queue that was declared on this channel, with its bindings."""
    channel.queue_delete(subscription.queue)
    for topic, routing_key in sorted(subscription.bindings):  # afterwards: only queues with bindings are deleted
        channel.queue_unbind(subscription.queue, topic, routing_key)
