"""One connection of a receiver to Redis: sending, and waiting for what comes, until somebody rings."""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from events_core.brokers.bell import Bell
from events_core.errors import ConfigurationError

#: Seconds that Redis may take to connect and to answer.
PATIENCE = 5.0

Command = tuple[Any, ...]


class RedisWire:
    """A connection that its one thread uses; connects on first use.

    factory: makes it. Everything but `close` raises redis-py's errors; `lost_is_os_error` makes others of them.
    """

    def __init__(self, factory: redis.ConnectionPool) -> None:
        self._factory = factory
        self._connection: Any = None  # redis-py's interface does not declare what all of them have

    @property
    def connected(self) -> bool:
        """Whether it has been opened, and not closed since."""
        return self._connection is not None

    def open(self) -> None:
        """Connect, if it is not connected."""
        self._opened()

    def send(self, *commands: Command) -> None:
        """Send commands in one write; `read` gives the reply to each."""
        connection = self._opened()
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    def read(self) -> Any:
        """The next reply. Raises redis.ResponseError where it is a refusal."""
        return self._opened().read_response()

    def call(self, *commands: Command) -> list[Any]:
        """Send commands in one write and read the replies; refusals by Redis are among them, not raised."""
        self.send(*commands)
        return [self._reply() for _ in commands]

    def _reply(self) -> Any:
        try:
            return self.read()
        except redis.ResponseError as error:
            return error

    def wait(self, bell: Bell, seconds: float) -> bool:
        """Whether something is there to be read; waits for it, or until the bell rings."""
        connection = self._opened()
        if connection.can_read(0):
            return True
        poll = select.poll()  # select() refuses descriptors from 1024 on
        poll.register(connection._sock, select.POLLIN)
        poll.register(bell.fileno(), select.POLLIN)
        poll.poll(max(seconds, 0) * 1000)
        return bool(connection.can_read(0))

    def close(self) -> None:
        """Close it; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _opened(self) -> Any:
        if self._connection is None:
            connection: Any = self._factory.make_connection()
            connection.socket_timeout = connection.socket_connect_timeout = PATIENCE
            connection.connect()
            self._connection = connection
        return self._connection


def rest(bell: Bell, seconds: float) -> None:
    """Wait until the bell rings."""
    poll = select.poll()
    poll.register(bell.fileno(), select.POLLIN)
    poll.poll(max(seconds, 0) * 1000)


@contextmanager
def lost_is_os_error(what: str) -> Iterator[None]:
    """Makes OSErrors of redis-py's errors: whoever waits comes again. what: for the message."""
    try:
        yield
    except redis.TimeoutError as error:
        raise TimeoutError(f"{what}: Redis does not answer: {error}") from error
    except redis.RedisError as error:
        raise ConnectionError(f"{what}: Redis is lost: {error}") from error


@contextmanager
def refusal_is_configuration(what: str) -> Iterator[None]:
    """Makes a ConfigurationError of what Redis will refuse again. what: for the message."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise ConfigurationError(f"{what}: Redis refuses us: {error}: check the user and password") from error
    except redis.ResponseError as error:
        if not str(error).startswith("WRONGTYPE") and not isinstance(error, redis.exceptions.NoPermissionError):
            raise
        raise ConfigurationError(
            f"{what}: Redis refuses: {error}: something else may lie in its place, or the user may lack permissions"
        ) from error


def raise_refusals(replies: Sequence[Any]) -> None:
    """Raise the first of the replies that is a refusal."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
