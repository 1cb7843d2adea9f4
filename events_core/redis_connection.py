"""One connection to Redis that its owner keeps: as little as possible between a command and its reply."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

_T = TypeVar("_T")

#: Seconds without use after which the connection is asked whether it has ended.
_FRESH = 1.0


class Packed(NamedTuple):
    """Parts of a command as they are sent."""

    number: int
    data: bytes


class RedisConnection:
    """For one thread at a time. Connects on first use; a fork drops it.

    redis-py's client borrows a connection for each command, asks it first whether it has ended, and looks for retries
    and options: twice the time, and three more system calls, at each of which a busy process loses the interpreter's
    lock.

    client: whose connection settings are used.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None  # redis-py's interface does not declare what all of them have
        self._used_at = 0.0
        self._pid = os.getpid()

    def use(self, action: Callable[..., _T], *parts: Packed) -> _T:
        """Call the action with the connection and the parts. parts: what it sends first; none: a reply is due.

        Raises what the action raises; after anything but a refusal by Redis the connection has ended.
        """
        if self._connection is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._connection = self._pool.make_connection()
        connection = self._connection
        try:
            if parts and time.monotonic() - self._used_at > _FRESH and _has_ended(connection):
                connection.disconnect()
            return action(connection, *parts)
        except redis.ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._used_at = time.monotonic()

    def ask(self, commands: Sequence[Sequence[str | bytes]]) -> list[Any]:
        """The replies to commands that are sent in one write, refusals among them. Raises what a lost connection does.

        Which commands were carried out is not known then.
        """
        return self.use(_replies, *(packed(*command) for command in commands))

    def close(self) -> None:
        """Close the connection; it can be used again."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.disconnect()


def packed(*parts: str | bytes) -> Packed:
    """These parts of a command."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return Packed(len(parts), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded))


def send(connection: Any, *parts: Packed) -> None:
    """Send the parts as one command."""
    _write(connection, b"*%d\r\n" % sum(part.number for part in parts), *(part.data for part in parts))


def _write(connection: Any, *data: bytes) -> None:
    connection.send_packed_command([b"".join(data)], check_health=False)


def _replies(connection: Any, *commands: Packed) -> list[Any]:
    _write(connection, *(b"*%d\r\n%b" % command for command in commands))
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _has_ended(connection: Any) -> bool:
    try:
        return bool(connection.can_read(0))  # nothing is due: what can be read is the end
    except (redis.RedisError, OSError):
        return True
