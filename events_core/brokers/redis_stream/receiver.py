"""Reading from Redis streams: what receivers of a group's share and of everything have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis

from events_core.brokers.base import Received, Subscription
from events_core.brokers.bell import Bell
from events_core.brokers.redis_stream.entries import is_wanted, received
from events_core.brokers.redis_window import Window
from events_core.brokers.redis_wire import PATIENCE, Command, RedisWire, lost_is_os_error, rest

#: Seconds that one read waits in Redis. What is given back is found by the next read.
BLOCK = 1.0


class StreamReceiver(ABC):
    """See `Receiver`. Reads on one connection, where a read stays under way between calls; all else on another.

    streams: each stream that is read, and its topic; empty for one of all topics.
    """

    def __init__(
        self,
        connections: redis.ConnectionPool,
        subscription: Subscription,
        streams: Mapping[str, str],
        prefetch: int,
    ) -> None:
        self._subscription = subscription
        self._streams = dict(streams)
        self._reading, self._telling = RedisWire(connections), RedisWire(connections)
        self._window = Window(prefetch)
        self._bell = Bell()
        self._awaited: deque[Command] = deque()  # the commands whose replies are due
        self._asked_at = 0.0

    @property
    def _name(self) -> str:
        return f"queue {self._subscription.queue}"

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`."""
        end = time.monotonic() + timeout
        try:
            with lost_is_os_error(self._name):
                if not self._reading.connected:
                    self._connect()
                self._look_after()
                while not (taken := self._window.take()):
                    left = end - time.monotonic()
                    self._wait(min(left, BLOCK))
                    self._look_after()
                    if self._bell.silence() or left <= 0:
                        return self._window.take()
                return taken
        except BaseException:
            self._lost()
            raise

    def _wait(self, seconds: float) -> None:
        if not self._awaited and self._streams and self._window.free > 0:
            self._ask(self._reads(max(1, self._window.free // len(self._streams))))
        if not self._awaited:
            rest(self._bell, seconds)
        elif self._reading.wait(self._bell, seconds):
            self._read()
        elif time.monotonic() - self._asked_at > BLOCK + PATIENCE:
            raise redis.TimeoutError("no reply to a read: the connection leads nowhere")

    def _ask(self, commands: Sequence[Command]) -> None:
        self._reading.send(*commands)
        self._awaited.extend(commands)
        self._asked_at = time.monotonic()

    def _read(self) -> None:
        command = self._awaited[0]
        try:
            reply = self._reading.read()
        except redis.ResponseError as error:
            self._awaited.popleft()
            self._refused(error)
            return
        self._awaited.popleft()
        self._replied(command, reply)

    def _take_in(self, stream: str, entry: bytes, fields: Sequence[bytes], *, again: bool = False) -> bool:
        """Keep an entry for the caller, if the queue is bound to it.

        Whoever hears everything of several topics is not told one that the entry does not: it would be any of them.
        """
        message = received(stream, self._streams[stream], entry, fields)
        topic = message.topic
        if not is_wanted(message, self._subscription.bindings):
            return False
        if (message.topic, "#") in self._subscription.bindings:
            message.topic = topic
        self._window.add([replace(message, redelivered=True) if again else message])
        return True

    def _lost(self) -> None:
        """Both connections go: what the next ones find is told by Redis alone."""
        self._reading.close()
        self._telling.close()
        self._awaited.clear()

    def wake(self) -> None:
        """See `Receiver.wake`."""
        self._bell.ring()

    @abstractmethod
    def _look_after(self) -> None:
        """Called with each `receive`."""

    @abstractmethod
    def _connect(self) -> None:
        """Open the connections and find out where to read on."""

    @abstractmethod
    def _reads(self, count: int) -> list[Command]:
        """Commands that read at most `count` entries of each stream; the last may wait."""

    @abstractmethod
    def _replied(self, command: Command, reply: Any) -> None:
        """The reply to one of them."""

    def _refused(self, error: redis.ResponseError) -> None:
        raise error
