"""Reading from streams: never more than the prefetch window has room for, of all queues, the most urgent first.

A script looks without waiting. Only when it finds nothing, one blocking read waits for the next message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from queue import Empty
from typing import TYPE_CHECKING, Any

import redis
from kombu.utils.scheduling import round_robin_cycle

from events_core.transport import keys, scripts
from events_core.transport.errors import LOST

if TYPE_CHECKING:
    from events_core.transport.channel import Channel

logger = logging.getLogger(__name__)

#: A message that is ours and not delivered yet: delivery tag, queue, JSON, and, if it was given back, how often it was
#: delivered in vain.
Read = tuple[str, str, bytes, int | None]
#: Seconds before the connection is given up on which Redis refuses to read.
_PAUSE = 1.0
_GONE = ("NOGROUP", "UNBLOCKED", "no longer exists")


class Reader:
    """Reads for one channel, under one consumer name for each of its connections."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._name: str | None = None
        self._script: str | None = None
        self._queues: dict[str, str] = {}
        self._looking = True
        self._asked_looking = True
        self._asked = 0

    @property
    def name(self) -> str:
        """The consumer name of the present connection."""
        if self._name is None:
            self._name = self._channel.member.new_name(self._queues)
        return self._name

    def start(self, free: int) -> None:
        """Send a read for at most so many messages on the channel's connection."""
        channel = self._channel
        connection = channel.client.connection
        self._asked_looking, self._asked = self._looking, free
        command = self._look(free) if self._looking else self._wait()
        channel._in_poll = connection
        channel._brpop_sent_at = time.monotonic()
        connection.send_command(*command)

    def _look(self, free: int) -> tuple[Any, ...]:
        channel = self._channel
        if self._script is None:
            self._script = channel.plain.script_load(scripts.READ)
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        streams = self._streams(queues)
        fair = isinstance(channel._queue_cycle, round_robin_cycle)
        return ("EVALSHA", self._script, *self._arguments(streams, free, len(queues) if fair else 1))

    def _arguments(self, streams: Sequence[str], free: int, width: int) -> tuple[Any, ...]:
        return (len(streams), *streams, keys.GROUP, keys.RETURNED, self.name, free, width)

    def _streams(self, queues: Sequence[str]) -> list[str]:
        channel = self._channel
        self._queues = {channel._q_for_pri(queue, step): queue for step in channel.priority_steps for queue in queues}
        return [*self._queues]

    def _wait(self) -> tuple[Any, ...]:
        streams = [*self._queues]
        milliseconds = int((self._channel.brpop_timeout or 1) * 1000)
        return (
            *("XREADGROUP", "GROUP", keys.GROUP, self.name, "COUNT", 1, "BLOCK", milliseconds),
            *("STREAMS", *streams, *[">"] * len(streams)),
        )

    def finish(self) -> list[Read]:
        """What is to be delivered of the read that was sent. Raises Empty if there was none, or what a lost connection
        raises.
        """
        channel = self._channel
        connection = channel._in_poll
        try:
            reply = connection.read_response()
        except LOST:
            connection.disconnect()
            raise
        except redis.ResponseError as error:
            channel._in_poll = None
            return self._refused(connection, error)
        channel._in_poll = None
        channel._flush_brpop_reauth()
        found = [*self._looked(reply)] if self._asked_looking else [*self._waited(reply)]
        self._looking = not self._asked_looking or bool(found)
        left = channel.aside.sift(found, whole=self._asked_looking and len(found) >= self._asked)
        room = max(channel._room(), 0)
        # a blocking read brings one message of each stream that had one just before it began, and one in the midst of
        # a burst may bring its end
        back = left[room:]
        if back:
            channel.member.give_back([tag for tag, *_ in back])
        for queue in {queue for _, queue, _, _ in found} - {queue for _, queue, _, _ in back}:
            channel._queue_cycle.rotate(queue)
        return left[:room]

    def _refused(self, connection: Any, error: redis.ResponseError) -> list[Read]:
        reason = str(error)
        self._looking = True
        if isinstance(error, redis.exceptions.NoScriptError):
            self._script = None
        elif any(word in reason for word in _GONE):
            logger.warning("streams were deleted and are made anew: %s", reason)
        else:  # a replica, a full disk, somebody else's key: there is nothing to do but to come again
            time.sleep(_PAUSE)
            connection.disconnect()
            raise redis.ConnectionError(f"Redis refuses to give messages: {reason}") from error
        raise Empty

    def _looked(self, reply: list[Any]) -> Iterator[Read]:
        for stream, new, again in reply:
            key = stream.decode()
            queue = self._queues[key]
            for at in range(0, len(again), 3):
                yield keys.tag_of(key, again[at].decode()), queue, again[at + 1], again[at + 2]
            for at in range(0, len(new), 2):
                yield keys.tag_of(key, new[at].decode()), queue, new[at + 1], None

    def _waited(self, reply: Any) -> Iterator[Read]:
        for stream, entries in reply.items() if isinstance(reply, dict) else reply or ():
            key = stream.decode()
            for entry, fields in entries:
                raw = fields[1] if fields[0] == b"m" else b" ".join(fields)
                yield keys.tag_of(key, entry.decode()), self._queues[key], raw, None

    def read_now(self, queue: str, count: int) -> list[Read]:
        """Read from one queue, outside the loop. Raises what a lost connection does."""
        channel = self._channel
        streams = channel.streams_of(queue)
        channel.member.watch(streams)
        self._queues = {**dict.fromkeys(streams, queue), **self._queues}
        read = channel.plain.register_script(scripts.READ)
        try:
            reply = read(keys=streams, args=[keys.GROUP, keys.RETURNED, self.name, count, 1])
        except LOST:
            self.lost()
            raise
        return [*self._looked(reply)]

    def look_again(self) -> None:
        """Other queues than before: the next read looks into them."""
        self._looking = True

    def abandon(self) -> str | None:
        """Nothing more is to be read: what a read in flight still brings goes back. Returns the name that was used."""
        name = self._name
        if self._channel._in_poll:
            self._channel._in_poll.disconnect()
        self.lost()
        return name

    def lost(self) -> None:
        """The connection has gone. The next one reads under a name of its own."""
        self._looking = True
        if self._name is not None:
            name, self._name = self._name, None
            self._channel.member.retire(name)
