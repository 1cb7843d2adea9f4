"""Publishing deliveries to RabbitMQ. The default exchange routes by queue name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import amqp
import kombu

from events_core.publishing.amqp_batches import AMQPBatches, unanswered
from events_core.publishing.base import Deadline
from events_core.publishing.confirms import Outgoing
from events_core.publishing.messages import Message


class AMQPPublisher:
    """Publishes to durable queues over AMQP 0-9-1.

    connection: a kombu connection that is never opened itself; each of ours is a clone of it.
    queue: gives the declaration of a queue, so that emitting side and worker declare it alike.
    """

    def __init__(self, connection: kombu.Connection, queue: Callable[[str], kombu.Queue]) -> None:
        self._queue = queue
        self._batches: AMQPBatches[str] = AMQPBatches(connection, self._declare, "correlation_id", _reason)

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """See `Publisher.publish`."""
        outgoing = [_outgoing(message) for message in messages]
        queues = {message.delivery.queue for message in messages}
        batch = self._batches.publish(messages, outgoing, queues, Deadline(timeout), to_queues=True)
        if not batch.all_confirmed():
            raise batch.error("RabbitMQ refused")

    def close(self) -> None:
        """See `Publisher.close`."""
        self._batches.close()

    def _declare(self, channel: Any, name: str) -> None:
        declaration = self._queue(name)
        channel.queue_declare(
            queue=name,
            durable=declaration.durable,
            exclusive=declaration.exclusive,
            auto_delete=declaration.auto_delete,
            arguments=declaration.queue_arguments,
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


def _reason(error: Exception) -> str:
    if isinstance(error, amqp.PreconditionFailed):
        return (
            f"a queue exists on the broker with other arguments ({error}): delete it once it is empty, "
            "or set EVENTS_QUORUM_QUEUES as it was declared"
        )
    return unanswered(error)
