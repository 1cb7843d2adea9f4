"""A batch of messages to RabbitMQ: mandatory, with publisher confirms, one wait for all of it.

Confirms: https://www.rabbitmq.com/docs/confirms.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import amqp
import kombu

from events_core.errors import EmitError
from events_core.publishing.amqp_connection import ERRORS, abandon, open_connection
from events_core.publishing.base import Deadline
from events_core.publishing.cork import corked
from events_core.publishing.messages import Delivery

N = TypeVar("N", bound=Hashable)


@dataclass(slots=True)
class Outgoing:
    """One message as it is sent."""

    delivery: Delivery
    content: amqp.Message
    exchange: str
    routing_key: str


class Batch:
    """What became of each message of one publish. key: the AMQP property that tells messages apart."""

    def __init__(self, messages: Sequence[Outgoing], key: str) -> None:
        self.messages = messages
        self.to_send = list(range(len(messages)))
        self.pending: dict[int, int] = {}  # publish sequence number -> index
        self.confirmed: set[int] = set()
        self.refused: set[int] = set()
        self._key = key
        self._returned: set[tuple[str, str, str]] = set()

    def answered(self, tag: int, multiple: bool, *, accepted: bool) -> None:
        tags = [known for known in self.pending if known <= tag] if multiple else [tag]
        for known in tags:
            index = self.pending.pop(known, None)
            if index is None:
                continue
            # an unroutable message is returned first and confirmed after that
            routed = self._id(index) not in self._returned
            (self.confirmed if accepted and routed else self.refused).add(index)

    def returned(self, exchange: str, routing_key: str, content: amqp.Message) -> None:
        self._returned.add((exchange, routing_key, content.properties[self._key]))

    def unroutable(self) -> list[int]:
        """Those that no queue was there for."""
        return [index for index in sorted(self.refused) if self._id(index) in self._returned]

    def send_again(self, indices: Iterable[int]) -> None:
        """Send refused ones again."""
        self.to_send = sorted(indices)
        self.refused -= {*self.to_send}
        self._returned.clear()

    def all_confirmed(self) -> bool:
        return len(self.confirmed) == len(self.messages)

    def error(self, reason: str) -> EmitError:
        sent = self.confirmed | self.refused | set(self.pending.values())

        def deliveries(indices: Iterable[int]) -> list[Delivery]:
            return [self.messages[index].delivery for index in sorted(indices)]

        return EmitError(
            reason,
            confirmed=deliveries(self.confirmed),
            uncertain=deliveries(self.pending.values()),
            unsent=deliveries(self.refused | (set(range(len(self.messages))) - sent)),
        )

    def _id(self, index: int) -> tuple[str, str, str]:
        message = self.messages[index]  # one event may go to several exchanges
        return message.exchange, message.routing_key, message.content.properties[self._key]


class ConfirmingConnection:
    """One AMQP connection with one channel in confirm mode; every wait ends with the deadline in force."""

    def __init__(self, template: kombu.Connection, deadline: Deadline) -> None:
        self._amqp = open_connection(template, deadline.remaining())
        try:
            self._channel = self._amqp.channel()
            self._channel.confirm_select()
        except BaseException:
            self.close()
            raise
        self._batch: Batch | None = None
        self._published = 0
        self._declared: set[Hashable] = set()
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)

    def declare(self, names: Iterable[N], declare: Callable[[Any, N], None], deadline: Deadline) -> None:
        """Declare what this connection has not declared yet, each by `declare(channel, name)`."""
        for name in names:
            if name in self._declared:
                continue
            self._amqp.transport.sock.settimeout(deadline.remaining())
            declare(self._channel, name)
            self._declared.add(name)

    def forget(self, names: Iterable[Hashable]) -> None:
        """Declare these again the next time."""
        self._declared.difference_update(names)

    def publish(self, batch: Batch, deadline: Deadline) -> None:
        """Send what the batch has to send and wait until all of it is answered."""
        self._batch = batch
        sock, channel = self._amqp.transport.sock, self._channel
        try:
            with corked(sock):
                while batch.to_send:
                    index = batch.to_send[0]
                    message = batch.messages[index]
                    sock.settimeout(deadline.remaining())
                    self._published += 1
                    batch.pending[self._published] = index
                    del batch.to_send[0]
                    channel.basic_publish(message.content, message.exchange, message.routing_key, mandatory=True)
            while batch.pending:
                self._amqp.drain_events(timeout=deadline.remaining())
        finally:
            self._batch = None

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if self._batch is not None:
            self._batch.answered(tag, multiple, accepted=True)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        if self._batch is not None:
            self._batch.answered(tag, multiple, accepted=False)

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: amqp.Message) -> None:
        if self._batch is not None:
            self._batch.returned(exchange, routing_key, message)

    def is_stale(self) -> bool:
        try:
            incoming = select.poll()  # select() refuses descriptors from 1024 on
            incoming.register(self._amqp.transport.sock, select.POLLIN)
            if incoming.poll(0):  # a close, or connection.blocked: let the library read it
                self._amqp.drain_events(timeout=0.1)
        except (*ERRORS, AttributeError, TypeError, ValueError):
            return True
        return not self._amqp.connected

    def close(self) -> None:
        # Without the closing handshake: it could wait for a broker that does not answer. And without asking for its
        # transport: once RabbitMQ has closed it, py-amqp would connect anew.
        self._amqp.collect()

    def abandon(self) -> None:
        abandon(self._amqp)
