"""Publishing batches to RabbitMQ over pooled connections, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic

import amqp
import kombu

from events_core.publishing.amqp_connection import ERRORS
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.confirms import Batch, ConfirmingConnection, N, Outgoing
from events_core.publishing.messages import Carried
from events_core.publishing.pool import ConnectionPool


class AMQPBatches(Generic[N]):
    """Declares what messages go to, once for each connection, and sends them.

    connection: a kombu connection that is never opened itself; each of ours is a clone of it. declare: called with a
    channel and a name. key: the AMQP property that tells messages apart. explain: an error, for EmitError.
    """

    def __init__(
        self,
        connection: kombu.Connection,
        declare: Callable[[Any, N], None],
        key: str,
        explain: Callable[[Exception], str],
    ) -> None:
        self._declare = declare
        self._key = key
        self._explain = explain
        self._pool: ConnectionPool[ConfirmingConnection] = ConnectionPool(
            lambda deadline: ConfirmingConnection(connection, deadline),
            again=ERRORS,
            final=(amqp.AccessRefused, amqp.NotAllowed),
        )

    def publish(
        self,
        messages: Sequence[Carried],
        outgoing: Sequence[Outgoing],
        names: Collection[N],
        deadline: Deadline,
        *,
        to_queues: bool,
    ) -> Batch:
        """Send everything; what became of each, all of it answered. names: what has to be declared before.

        to_queues: the names are those of the queues: what is unroutable is sent once more, after declaring them again.
        Raises EmitError where RabbitMQ does not answer, or refuses us.
        """
        try:
            connection = self._pool.take(deadline)
        except ERRORS as error:
            raise unsent(f"RabbitMQ cannot be reached: {error}", messages) from error
        batch = Batch(outgoing, self._key)
        try:
            connection.declare(names, self._declare, deadline)
            connection.publish(batch, deadline)
            gone = batch.unroutable() if to_queues else []
            if gone:  # somebody deleted a queue that this connection had declared
                connection.forget(names)
                connection.declare(names, self._declare, deadline)
                batch.send_again(gone)
                connection.publish(batch, deadline)
        except Exception as error:  # also of what cannot be encoded: others share the batch, and are told of theirs
            self._pool.drop(connection)
            if isinstance(error, amqp.NotFound):
                self._pool.close()  # somebody deleted an exchange that the others have declared too
            raise batch.error(self._explain(error)) from error
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        return batch

    def close(self) -> None:
        """Close the idle connections. It can be used again."""
        self._pool.close()


def unanswered(error: Exception) -> str:
    """What happened, for EmitError: to the connection, or to what was to be sent."""
    if isinstance(error, ERRORS):
        return f"RabbitMQ did not answer: {error}"
    return f"a message cannot be sent to RabbitMQ: {type(error).__name__}: {error}"
