"""Publishing to Redis in kombu's wire format: one command for each queue, all in one pipeline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import redis
import uuid_utils
from pydantic_core import to_json
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.errors import EmitError
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.messages import Message
from events_core.publishing.pool import ConnectionPool
from events_core.transport import keys, scripts


class RedisPublisher:
    """Publishes to the lists that kombu's Redis transport reads, or to the streams that ours reads.

    url: redis-py's form. options: further ones of redis-py connections (TLS). key_prefix: kombu's `global_keyprefix`.
    streams: whether to streams.
    """

    def __init__(
        self, url: str, options: Mapping[str, Any] | None = None, key_prefix: str = "", *, streams: bool = False
    ) -> None:
        # Retries of redis-py's own would send again what may have arrived, long after the deadline. And from redis-py 8
        # on a pool makes 100 connections in its life, failed ones included: a Redis that is away would stay away.
        factory = redis.ConnectionPool.from_url(
            url, retry=Retry(NoBackoff(), 0), protocol=2, max_connections=2**31, **(options or {})
        )
        self._prefix = key_prefix
        self._command = self._add if streams else self._push
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            lambda deadline: _Connection(factory, deadline),
            again=(redis.ConnectionError, redis.TimeoutError, TimeoutError),
            final=(redis.AuthenticationError,),
        )

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """See `Publisher.publish`."""
        deadline = Deadline(timeout)
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.delivery.queue, []).append(message)
        commands = [self._command(queue, batch) for queue, batch in by_queue.items()]
        try:
            connection = self._pool.take(deadline)
        except (redis.RedisError, OSError) as error:
            raise unsent(f"Redis cannot be reached: {error}", messages) from error
        replies: list[Any] = []
        try:
            connection.send(commands, deadline)
            for _ in commands:
                replies.append(connection.read(deadline))
        except (redis.RedisError, OSError) as error:
            self._pool.drop(connection)
            raise _partial(f"Redis did not answer: {error}", by_queue, replies) from error
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        if any(isinstance(reply, Exception) for reply in replies):
            refusal = next(reply for reply in replies if isinstance(reply, Exception))
            raise _partial(f"Redis refused: {refusal}", by_queue, replies)

    def close(self) -> None:
        """See `Publisher.close`."""
        self._pool.close()

    def _push(self, queue: str, batch: Sequence[Message]) -> tuple[Any, ...]:
        return ("LPUSH", self._prefix + queue, *map(encode, batch))

    def _add(self, queue: str, batch: Sequence[Message]) -> tuple[Any, ...]:
        stream = keys.stream_key(self._prefix, queue)
        if len(batch) == 1:
            return ("XADD", stream, "*", keys.FIELD, encode(batch[0]))
        return ("EVAL", scripts.ADD, 1, stream, *map(encode, batch))


class _Connection:
    """One redis-py connection whose every wait ends with the deadline in force."""

    def __init__(self, factory: redis.ConnectionPool, deadline: Deadline) -> None:
        connection: Any = factory.make_connection()  # redis-py's interface does not declare what all of them have
        connection.socket_timeout = connection.socket_connect_timeout = deadline.remaining()
        connection.connect()
        self._connection = connection
        self.send([("PING",)], deadline)  # one that is still loading its data refuses, and is asked again
        reply = self.read(deadline)
        if isinstance(reply, Exception):
            self.close()
            raise reply

    def send(self, commands: Sequence[tuple[Any, ...]], deadline: Deadline) -> None:
        self._connection._sock.settimeout(deadline.remaining())
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)

    def read(self, deadline: Deadline) -> Any:
        """The next reply; a refusal by Redis is returned, not raised."""
        self._connection._sock.settimeout(deadline.remaining())
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def is_stale(self) -> bool:
        try:
            return bool(self._connection.can_read(0))  # nothing is due: what can be read is the end
        except (redis.RedisError, OSError):
            return True

    def close(self) -> None:
        self._connection.disconnect()

    def abandon(self) -> None:
        # redis-py compares the process id and leaves the parent's connection alone
        self._connection.disconnect()


def encode(message: Message) -> bytes:
    """A message as kombu's virtual transports store it."""
    delivery = message.delivery
    return to_json(
        {
            "body": base64.b64encode(message.body).decode("ascii"),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": message.headers,
            "properties": {
                "correlation_id": delivery.task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": delivery.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid_utils.uuid7()),
            },
        }
    )


def _partial(reason: str, by_queue: Mapping[str, Sequence[Message]], replies: Sequence[Any]) -> EmitError:
    """Each queue's batch went in one command: what was answered is known, the rest is not."""
    error = EmitError(reason)
    for index, batch in enumerate(by_queue.values()):
        deliveries = [message.delivery for message in batch]
        if index >= len(replies):
            error.uncertain.extend(deliveries)
        elif isinstance(replies[index], Exception):
            error.unsent.extend(deliveries)
        else:
            error.confirmed.extend(deliveries)
    return EmitError(reason, confirmed=error.confirmed, uncertain=error.uncertain, unsent=error.unsent)
