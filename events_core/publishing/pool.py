"""A small pool of connections to one broker: last in, first out; safe across threads and forks."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from events_core.publishing.base import Deadline


class Connection(Protocol):
    """What the pool needs of a connection."""

    def is_stale(self) -> bool:
        """Whether the broker has closed it while it was idle."""
        ...

    def close(self) -> None:
        """Close it, whatever its state; never raises."""
        ...

    def abandon(self) -> None:
        """In a forked child: let go of the inherited socket without a word to the broker."""
        ...


C = TypeVar("C", bound=Connection)

#: Seconds between two attempts to connect.
_RECONNECT_AFTER = 0.05


class ConnectionPool(Generic[C]):
    """At most `size` connections are out at once; who finds none waits for one until the deadline.

    connect: makes a connection. again: errors after which connecting is tried again until the deadline, so that a
    broker's restart passes unnoticed. final: of those, errors that another attempt would only repeat.
    """

    def __init__(
        self,
        connect: Callable[[Deadline], C],
        *,
        again: tuple[type[Exception], ...],
        final: tuple[type[Exception], ...],
        size: int = 10,
    ) -> None:
        self._make = connect
        self._again = again
        self._final = final
        self._size = size
        self._reset()
        ref = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (method := ref()) and method())

    def _reset(self) -> None:
        self._idle: list[C] = []
        self._out: set[C] = set()
        self._slots = threading.BoundedSemaphore(self._size)

    def _after_fork(self) -> None:
        for connection in [*self._idle, *self._out]:
            connection.abandon()
        self._reset()

    def take(self, deadline: Deadline) -> C:
        """A live connection. Raises TimeoutError, or what connecting raises when the deadline passes."""
        slots = self._slots
        if not slots.acquire(timeout=deadline.remaining()):
            raise TimeoutError(f"no free connection within {deadline.seconds:g} s")
        try:
            connection = self._live() or self._connect(deadline)
        except BaseException:
            slots.release()
            raise
        self._out.add(connection)
        return connection

    def _live(self) -> C | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.is_stale():
                return connection
            connection.close()

    def _connect(self, deadline: Deadline) -> C:
        reason: Exception | None = None
        while True:
            try:
                return self._make(deadline)
            except self._final:
                raise
            except self._again as error:
                # what the broker said before says more than that the time is over
                reason = error if reason is None or not _is_timeout(error) else reason
            try:
                time.sleep(min(_RECONNECT_AFTER, deadline.remaining()))
            except TimeoutError:
                raise reason from None

    def give_back(self, connection: C) -> None:
        """Return a connection that is in order."""
        self._out.discard(connection)
        self._idle.append(connection)
        self._slots.release()

    def drop(self, connection: C) -> None:
        """Return a connection whose state is unknown: it is closed."""
        self._out.discard(connection)
        try:
            connection.close()
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError"  # redis-py has one of its own
