"""Publishing deliveries to RabbitMQ. The default exchange routes by queue name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import amqp
import kombu

from events_core.publishing.amqp_connection import ERRORS
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.confirms import Batch, ConfirmingConnection, Outgoing
from events_core.publishing.messages import Message
from events_core.publishing.pool import ConnectionPool


class AMQPPublisher:
    """Publishes to durable queues over AMQP 0-9-1.

    connection: a kombu connection that is never opened itself; each of ours is a clone of it.
    queue: gives the declaration of a queue, so that emitting side and worker declare it alike.
    """

    def __init__(self, connection: kombu.Connection, queue: Callable[[str], kombu.Queue]) -> None:
        self._queue = queue
        self._pool = amqp_pool(connection)

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """See `Publisher.publish`."""
        deadline = Deadline(timeout)
        try:
            connection = self._pool.take(deadline)
        except ERRORS as error:
            raise unsent(f"RabbitMQ cannot be reached: {error}", messages) from error
        batch = Batch([_outgoing(message) for message in messages], "correlation_id")
        try:
            connection.declare({message.delivery.queue for message in messages}, self._declare, deadline)
            connection.publish(batch, deadline)
            missing = batch.unroutable()
            if missing:  # someone deleted a queue that this connection had declared
                queues = {messages[index].delivery.queue for index in missing}
                connection.forget(queues)
                connection.declare(queues, self._declare, deadline)
                batch.send_again(missing)
                connection.publish(batch, deadline)
        except ERRORS as error:
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

    def _declare(self, channel: Any, name: str) -> None:
        declaration = self._queue(name)
        channel.queue_declare(
            queue=name,
            durable=declaration.durable,
            exclusive=declaration.exclusive,
            auto_delete=declaration.auto_delete,
            arguments=declaration.queue_arguments,
        )


def amqp_pool(connection: kombu.Connection) -> ConnectionPool[ConfirmingConnection]:
    """Connections like the given one, which is never opened itself."""
    return ConnectionPool(
        lambda deadline: ConfirmingConnection(connection, deadline),
        again=ERRORS,
        final=(amqp.AccessRefused, amqp.NotAllowed),
    )


def _outgoing(message: Message) -> Outgoing:
    content = amqp.Message(
        message.body,
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=message.headers,
        correlation_id=message.delivery.task_id,
        delivery_mode=2,
        priority=0,
    )
    return Outgoing(message.delivery, content, "", message.delivery.queue)


def _reason(error: BaseException) -> str:
    if isinstance(error, amqp.PreconditionFailed):
        return (
            f"a queue exists on the broker with other arguments ({error}): delete it once it is empty, "
            "or set EVENTS_QUORUM_QUEUES as it was declared"
        )
    return f"RabbitMQ did not answer: {error}"
