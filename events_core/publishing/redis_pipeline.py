"""Commands to Redis in one write, within one deadline, and what became of each: for all that publishes to Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.errors import EmitError
from events_core.publishing.base import Deadline
from events_core.publishing.messages import Delivery
from events_core.publishing.pool import ConnectionPool

#: What our connections take over from a client's, beside all that has to do with TLS. Not its retries, which would
#: send again what may have arrived, long after the deadline; nor how it decodes replies, nor its timeouts.
_ADDRESS = frozenset({"host", "port", "path", "db", "username", "password", "credential_provider", "socket_type"})
#: What connects as an asyncio client's connections do.
_BLOCKING: dict[type[Any], type[Any]] = {
    redis.asyncio.Connection: redis.Connection,
    redis.asyncio.SSLConnection: redis.SSLConnection,
    redis.asyncio.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
}
#: By which connections of sentinels find the master.
_SENTINEL = "connection_pool"
#: Retries of redis-py's own would send again what may have arrived, long after the deadline. And from redis-py 8 on, a
#: pool makes 100 connections in its life unless told otherwise, failed ones included: a Redis that is away would soon
#: be away for ever.
_OURS: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "protocol": 2, "max_connections": 2**31}


def connections(url: str, options: Mapping[str, Any] | None = None) -> redis.ConnectionPool:
    """What makes connections to a URL of redis-py's form. options: further ones of its connections (TLS)."""
    return redis.ConnectionPool.from_url(url, **_OURS, **(options or {}))


def connections_like(client: redis.Redis | redis.asyncio.Redis) -> redis.ConnectionPool:
    """What makes connections to where an existing client's go. The client must be kept.

    Raises KeyError for an asyncio client whose connections are of a kind of their own (sentinels').
    """
    pool = client.connection_pool
    connection_class = pool.connection_class if isinstance(client, redis.Redis) else _BLOCKING[pool.connection_class]
    taken = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name in _ADDRESS or name == _SENTINEL or name.startswith("ssl_")
    }
    return redis.ConnectionPool(connection_class, **_OURS, **taken)


class RedisPipeline:
    """Sends commands and reads their replies. Thread-safe and fork-safe; connects on first use.

    factory: makes the connections; `connections` and `connections_like` give one.
    """

    def __init__(self, factory: redis.ConnectionPool) -> None:
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            lambda deadline: _Connection(factory, deadline),
            again=(redis.ConnectionError, redis.TimeoutError, TimeoutError),
            final=(redis.AuthenticationError,),
        )

    def publish(
        self, commands: Sequence[tuple[Any, ...]], deliveries: Sequence[Sequence[Delivery]], timeout: float
    ) -> list[Any]:
        """Send the commands in one write; the replies, when Redis has answered every one.

        deliveries: for each command, what it carries. timeout: seconds for everything.
        Raises EmitError, which tells what is confirmed, uncertain and unsent. Nothing is sent twice.
        """
        deadline = Deadline(timeout)
        try:
            connection = self._pool.take(deadline)
        except (redis.RedisError, OSError) as error:
            unsent = [delivery for some in deliveries for delivery in some]
            raise EmitError(f"Redis cannot be reached: {error}", unsent=unsent) from error
        replies: list[Any] = []
        try:
            connection.send(commands, deadline)
            for _ in commands:
                replies.append(connection.read(deadline))
        except (redis.RedisError, OSError) as error:
            self._pool.drop(connection)
            raise _partial(f"Redis did not answer: {error}", deliveries, replies) from error
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give_back(connection)
        refusal = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if refusal is not None:
            raise _partial(f"Redis refused: {refusal}", deliveries, replies)
        return replies

    def close(self) -> None:
        """Close the idle connections. It can be used again."""
        self._pool.close()


class _Connection:
    """One connection to Redis; every wait ends with the deadline in force."""

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


def _partial(reason: str, deliveries: Sequence[Sequence[Delivery]], replies: Sequence[Any]) -> EmitError:
    """What was answered is known, the rest is not."""
    confirmed: list[Delivery] = []
    uncertain: list[Delivery] = []
    unsent: list[Delivery] = []
    for index, some in enumerate(deliveries):
        if index >= len(replies):
            uncertain.extend(some)
        elif isinstance(replies[index], Exception):
            unsent.extend(some)
        else:
            confirmed.extend(some)
    return EmitError(reason, confirmed=confirmed, uncertain=uncertain, unsent=unsent)
