"""Acknowledgements of one process, gathered for a few milliseconds and sent together."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import redis

from events_core.redis_connection import RedisConnection
from events_core.transport import keys

logger = logging.getLogger(__name__)

#: Seconds that an acknowledgement may wait for others.
DELAY = 0.003
#: So many are sent at once however young they are.
_FULL = 500


class Acknowledgements:
    """What the process has acknowledged and Redis does not know yet. They outlive the connection they came by.

    client: of the Redis; the connection is an own one. on_first: called when one begins to wait; must not block.
    """

    def __init__(self, client: redis.Redis, on_first: Callable[[], None]) -> None:
        self._connection = RedisConnection(client)
        self._on_first = on_first
        self._tags: deque[str] = deque()
        self._since = 0.0
        self._announced = False
        self._lock = threading.Lock()
        self._adding = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._tags)

    def add(self, tag: str) -> bool:
        """Acknowledge soon. Returns whether it is the first that waits. Called from any thread."""
        with self._adding:
            self._tags.append(tag)
            if self._announced:
                return False
            self._announced = True
            self._since = monotonic()
        self._on_first()
        return True

    @property
    def due(self) -> bool:
        """Whether they should be sent now."""
        return bool(self._tags) and (len(self._tags) >= _FULL or monotonic() - self._since >= DELAY)

    def flush(self, *, wait: bool = True) -> None:
        """Send what waits. Raises redis-py's errors of the connection; then it goes on waiting.

        wait: also if another thread is just sending; otherwise leave it to that one.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            with self._adding:
                self._announced = False
                tags = [*self._tags]
                self._tags.clear()
            if not tags:
                return
            try:
                self._send(tags)
            except BaseException:
                self._tags.extendleft(reversed(tags))
                self._on_first()
                raise
        finally:
            self._lock.release()

    def _send(self, tags: list[str]) -> None:
        # No transaction: a full Redis refuses every one. Cut off in between, a message is gone and pending: see READ.
        commands: list[tuple[str, ...]] = []
        for stream, entries in keys.by_stream(tags).items():
            commands += [("XDEL", stream, *entries), ("XACK", stream, keys.GROUP, *entries)]
        if not commands:
            return
        try:
            replies = self._connection.ask(commands)
        except redis.ConnectionError:  # it may have ended just now, which is no reason to lose the worker's own
            replies = self._connection.ask(commands)  # done twice, it does nothing
        for reply in replies:
            if not isinstance(reply, redis.RedisError):
                continue
            if not str(reply).startswith("WRONGTYPE"):  # a replica, a full disk, missing replicas: it will take them
                self._connection.close()  # the next may lead to the new master
                raise redis.ConnectionError(f"Redis refuses acknowledgements: {reply}") from reply
            logger.error("acknowledgements are lost, something else lies in the stream's place: %s", reply)

    @contextmanager
    def paused(self) -> Iterator[Callable[[], list[str]]]:
        """Hold sending back while the block looks at what lies in Redis; gives what tells what waits to be sent."""
        with self._lock:
            yield self._waiting

    def _waiting(self) -> list[str]:
        with self._adding:
            return [*self._tags]
