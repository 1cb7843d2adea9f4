"""Publishing to RabbitMQ: mandatory, with publisher confirms, one wait for a whole batch.

Confirms: https://www.rabbitmq.com/docs/confirms. The default exchange routes by queue name.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import amqp
import kombu

from events_core.errors import EmitError
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.cork import corked
from events_core.publishing.messages import Message
from events_core.publishing.pool import ConnectionPool

_ERRORS = (amqp.AMQPError, OSError)


class AMQPPublisher:
    """Publishes to durable queues over AMQP 0-9-1.

    connection: a kombu connection that is never opened itself; each of ours is a clone of it.
    queue: gives the declaration of a queue, so that emitting side and worker declare it alike.
    """

    def __init__(self, connection: kombu.Connection, queue: Callable[[str], kombu.Queue]) -> None:
        self._queue = queue
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            lambda deadline: _Connection(connection, deadline),
            again=_ERRORS,
            final=(amqp.AccessRefused, amqp.NotAllowed),
        )

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """See `Publisher.publish`."""
        deadline = Deadline(timeout)
        try:
            connection = self._pool.take(deadline)
        except _ERRORS as error:
            raise unsent(f"RabbitMQ cannot be reached: {error}", messages) from error
        batch = _Batch(messages)
        try:
            connection.declare({message.delivery.queue for message in messages}, self._queue, deadline)
            connection.publish(batch, deadline)
            missing = batch.unroutable_queues()
            if missing:  # someone deleted a queue that this connection had declared
                connection.forget(missing)
                connection.declare(missing, self._queue, deadline)
                batch.send_again()
                connection.publish(batch, deadline)
        except _ERRORS as error:
            self._pool.drop(connection)
            raise batch.error(_reason(error)) from error
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        if not batch.all_confirmed():
            raise batch.error("RabbitMQ refused")

    def close(self) -> None:
        """See `Publisher.close`."""
        self._pool.close()


class _Batch:
    """What became of each message of one publish."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.to_send = list(range(len(messages)))
        self.pending: dict[int, int] = {}  # publish sequence number -> index
        self.confirmed: set[int] = set()
        self.refused: set[int] = set()
        self.returned: set[str] = set()

    def answered(self, tag: int, multiple: bool, *, accepted: bool) -> None:
        tags = [known for known in self.pending if known <= tag] if multiple else [tag]
        for known in tags:
            index = self.pending.pop(known, None)
            if index is None:
                continue
            # an unroutable message is returned first and confirmed after that
            routed = self.messages[index].delivery.task_id not in self.returned
            (self.confirmed if accepted and routed else self.refused).add(index)

    def unroutable_queues(self) -> set[str]:
        return {m.delivery.queue for m in self.messages if m.delivery.task_id in self.returned}

    def send_again(self) -> None:
        again = {index for index in self.refused if self.messages[index].delivery.task_id in self.returned}
        self.refused -= again
        self.returned.clear()
        self.to_send = sorted(again)

    def all_confirmed(self) -> bool:
        return len(self.confirmed) == len(self.messages)

    def error(self, reason: str) -> EmitError:
        sent = self.confirmed | self.refused | set(self.pending.values())

        def deliveries(indices: Iterable[int]) -> list[Any]:
            return [self.messages[index].delivery for index in sorted(indices)]

        return EmitError(
            reason,
            confirmed=deliveries(self.confirmed),
            uncertain=deliveries(self.pending.values()),
            unsent=deliveries(self.refused | (set(range(len(self.messages))) - sent)),
        )


class _Connection:
    """One AMQP connection with one channel in confirm mode; every wait ends with the deadline in force."""

    def __init__(self, template: kombu.Connection, deadline: Deadline) -> None:
        connection = template.clone(heartbeat=0, connect_timeout=deadline.remaining())
        options = {**connection.transport_options, "confirm_publish": False, "max_retries": 0}
        # until the handshake is done, only the socket itself can end a wait
        options |= {"read_timeout": deadline.remaining(), "write_timeout": deadline.remaining()}
        connection.transport_options = options
        self._amqp: amqp.Connection = connection.transport.establish_connection()
        try:
            self._channel = self._amqp.channel()
            self._channel.confirm_select()
        except BaseException:
            self.close()
            raise
        self._batch: _Batch | None = None
        self._published = 0
        self._declared: set[str] = set()
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)

    def declare(self, names: Iterable[str], queue: Callable[[str], kombu.Queue], deadline: Deadline) -> None:
        """Declare the queues that this connection has not declared yet."""
        for name in names:
            if name in self._declared:
                continue
            declaration = queue(name)
            self._amqp.transport.sock.settimeout(deadline.remaining())
            self._channel.queue_declare(
                queue=name,
                durable=declaration.durable,
                exclusive=declaration.exclusive,
                auto_delete=declaration.auto_delete,
                arguments=declaration.queue_arguments,
            )
            self._declared.add(name)

    def forget(self, names: Iterable[str]) -> None:
        self._declared.difference_update(names)

    def publish(self, batch: _Batch, deadline: Deadline) -> None:
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
                    channel.basic_publish(_amqp_message(message), "", message.delivery.queue, mandatory=True)
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
            self._batch.returned.add(message.properties["correlation_id"])

    def is_stale(self) -> bool:
        try:
            incoming = select.poll()  # select() refuses descriptors from 1024 on
            incoming.register(self._amqp.transport.sock, select.POLLIN)
            if incoming.poll(0):  # a close, or connection.blocked: let the library read it
                self._amqp.drain_events(timeout=0.1)
        except (*_ERRORS, AttributeError, TypeError, ValueError):
            return True
        return not self._amqp.connected

    def close(self) -> None:
        # Without the closing handshake: it could wait for a broker that does not answer. And without asking for its
        # transport: once RabbitMQ has closed it, py-amqp would connect anew.
        self._amqp.collect()

    def abandon(self) -> None:
        # transport.close() would shut the parent's connection down; closing our descriptor does not
        transport = self._amqp._transport
        if transport is not None and transport.sock is not None:
            sock, transport.sock = transport.sock, None
            os.close(sock.detach())


def _amqp_message(message: Message) -> amqp.Message:
    return amqp.Message(
        message.body,
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=message.headers,
        correlation_id=message.delivery.task_id,
        delivery_mode=2,
        priority=0,
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, amqp.PreconditionFailed):
        return (
            f"a queue exists on the broker with other arguments ({error}): delete it once it is empty, "
            "or set EVENTS_QUORUM_QUEUES as it was declared"
        )
    return f"RabbitMQ did not answer: {error}"
