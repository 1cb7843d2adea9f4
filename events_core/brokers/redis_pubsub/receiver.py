"""Listening to Redis Pub/Sub."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Sequence

import redis

from events_core.brokers.base import Format, Received, Subscription
from events_core.brokers.bell import Bell
from events_core.brokers.matching import matches
from events_core.brokers.redis_window import Window
from events_core.brokers.redis_wire import PATIENCE, RedisWire, lost_is_os_error, rest
from events_core.errors import InvalidEnvelope

logger = logging.getLogger(__name__)

#: Seconds of silence after which Redis is asked whether it is still there.
_SILENCE = 10.0


class RedisPubSubReceiver:
    """See `Receiver`. What is not acknowledged does not come again after a lost connection: Redis has forgotten it.

    While `prefetch` messages are unacknowledged nothing is read: Redis buffers for us, and ends the connection of a
    listener that is too slow (`client-output-buffer-limit pubsub`, 32 MiB by default).
    """

    def __init__(
        self,
        connections: redis.ConnectionPool,
        format: Format,
        prefix: str,
        subscription: Subscription,
        prefetch: int,
    ) -> None:
        self._wire = RedisWire(connections)
        self._format = format
        self._prefix = prefix
        self._queue = subscription.queue
        self._bindings = sorted(subscription.bindings)
        self._window = Window(prefetch)
        self._bell = Bell()
        self._numbers = itertools.count()
        self._listened = False
        self._heard_at = 0.0
        self._asked = False

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`. What was published while there was no connection is missed, and told of."""
        end = time.monotonic() + timeout
        try:
            with lost_is_os_error(f"queue {self._queue}"):
                if not self._wire.connected:
                    self._listen()
                while not (taken := self._window.take()):
                    left = end - time.monotonic()
                    self._read(left)
                    if self._bell.silence() or left <= 0:
                        return self._window.take()
                return taken
        except BaseException:
            self._wire.close()
            self._window.forget_out()  # who holds them may go on; nobody else will ever have them
            raise

    def _listen(self) -> None:
        patterns = self._patterns()
        self._wire.send(("PSUBSCRIBE", *patterns))
        for _ in patterns:
            self._wire.read()
        self._heard_at, self._asked = time.monotonic(), False
        if self._listened:
            logger.warning("queue %s: listening again; events of the meantime may have been missed", self._queue)
        self._listened = True

    def _patterns(self) -> list[str]:
        prefix = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix)
        kinds = {routing_key.partition(".")[0] for _, routing_key in self._bindings}
        if kinds & {"*", "#"}:
            return [f"{prefix}:*"]
        return [f"{prefix}:{kind}:*" for kind in sorted(kinds)]

    def _read(self, seconds: float) -> None:
        """Read what is there while there is room; wait for the first of it."""
        if self._window.free <= 0:
            rest(self._bell, seconds)
            return
        if not self._wire.wait(self._bell, min(seconds, _SILENCE)):
            self._check()
            return
        while self._window.free > 0 and self._wire.wait(self._bell, 0):
            kind, *parts = self._wire.read()
            self._heard_at, self._asked = time.monotonic(), False
            if kind == b"pmessage":
                self._window.add(self._wanted(*parts[1:]))

    def _check(self) -> None:
        """A connection that leads nowhere is silent too: ask, and give it up without an answer."""
        silent = time.monotonic() - self._heard_at
        if silent > _SILENCE and not self._asked:
            self._wire.send(("PING",))
            self._asked = True
        elif silent > _SILENCE + PATIENCE:
            raise redis.TimeoutError(f"nothing heard for {silent:.0f} s")

    def _wanted(self, channel: bytes, body: bytes) -> list[Received]:
        """The message, if the queue is bound to its type; also one that nobody can read: its reader accounts for it."""
        kind, _, message_id = channel[len(self._prefix.encode()) + 1 :].decode(errors="replace").partition(":")
        message = Received(body, self._format.content_type, message_id=message_id, tag=next(self._numbers))
        try:
            envelope = self._format.decode(message)
        except InvalidEnvelope:
            return [message]
        message.type, message.routing_key = envelope.type, f"{kind}.{envelope.type}"
        topics = [topic for topic, pattern in self._bindings if matches(pattern, message.routing_key)]
        if not topics:
            return []
        message.topic = topics[0]
        return [message]

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Makes room; Redis knows nothing of it."""
        self._window.settle(messages)

    def give_back(self, messages: Sequence[Received]) -> None:
        """They come again, from this receiver."""
        self._window.take_back(messages)

    def wake(self) -> None:
        """See `Receiver.wake`."""
        self._bell.ring()

    def close(self) -> None:
        """See `Receiver.close`. What is unacknowledged is gone."""
        self._wire.close()
        self._window.clear()
        self._bell.close()
