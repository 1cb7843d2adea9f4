"""Reading a consumer group's share of streams: shared, acknowledged, and taken over from the dead."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from events_core.brokers.base import Received, Subscription
from events_core.brokers.redis_stream import scripts
from events_core.brokers.redis_stream.entries import entries_of
from events_core.brokers.redis_stream.receiver import BLOCK, StreamReceiver
from events_core.brokers.redis_wire import Command, lost_is_os_error, raise_refusals

logger = logging.getLogger(__name__)

#: Seconds between two looks at what was dropped unread.
_LOOK_AFTER = 5.0
#: Milliseconds after which a consumer that holds nothing and does nothing is forgotten.
_FORGOTTEN = 3_600_000
#: The part of a stream's length that a group may be behind without a warning.
_FAR_BEHIND = 0.8
_GONE = ("NOGROUP", "UNBLOCKED")


class GroupReceiver(StreamReceiver):
    """A consumer of the group that is named as the queue.

    claim_after: seconds; what a consumer has held unacknowledged for so long, without calling `receive`, is taken
    over by another. max_length: of the streams, to warn of a group that falls behind; None if they are not trimmed.
    """

    def __init__(
        self,
        connections: redis.ConnectionPool,
        subscription: Subscription,
        streams: Mapping[str, str],
        prefetch: int,
        claim_after: float,
        max_length: int | None,
    ) -> None:
        super().__init__(connections, subscription, streams, prefetch)
        self._group = subscription.queue
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._claim_after = claim_after
        self._max_length = max_length
        self._last: dict[str, str] = {}  # the newest entry of each stream that the group is known to have had
        self._cursors: dict[str, bytes] = {}  # where to go on looking for entries that nobody holds
        self._claiming = True
        self._client_id: int | None = None
        self._looked_at = self._renewed_at = 0.0
        self._behind: set[str] = set()

    def _connect(self) -> None:
        self._window.clear()  # all that was unacknowledged comes again
        self._create()
        for stream in self._streams:
            self._tell(("EVAL", scripts.RELEASE, 1, stream, self._group, scripts.RETURNED, self._consumer))
            self._tell(("EVAL", scripts.FORGET_DEAD, 1, stream, self._group, _FORGOTTEN))
        [client_id] = self._reading.call(("CLIENT", "ID"))
        self._client_id = client_id if isinstance(client_id, int) else None  # not everyone may ask
        self._cursors, self._claiming, self._looked_at = dict.fromkeys(self._streams, b"0-0"), True, 0.0

    def _create(self) -> None:
        for stream in self._streams:
            start = self._last.get(stream, "$")
            made = self._tell(("EVAL", scripts.CREATE, 1, stream, self._group, start))
            if made and stream in self._last:
                logger.warning("%s: stream %s was gone or without the group, which is made anew", self._name, stream)
            for group in self._tell(("XINFO", "GROUPS", stream)):
                about = dict(zip(group[::2], group[1::2], strict=True))
                if about[b"name"].decode() == self._group:
                    self._last[stream] = about[b"last-delivered-id"].decode()

    def _tell(self, command: Command) -> Any:
        [reply] = replies = self._telling.call(command)
        raise_refusals(replies)
        return reply

    def _reads(self, count: int) -> list[Command]:
        idle = int(self._claim_after * 1000)
        commands: list[Command] = [
            ("XAUTOCLAIM", stream, self._group, self._consumer, idle, cursor, "COUNT", count)
            for stream, cursor in self._cursors.items()
        ]
        if not self._claiming:  # what was given back is older than anything new
            read = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count, "BLOCK", int(BLOCK * 1000))
            commands.append((*read, "STREAMS", *self._streams, *[">"] * len(self._streams)))
        self._claiming = False
        return commands

    def _replied(self, command: Command, reply: Any) -> None:
        if command[0] == "XAUTOCLAIM":
            self._claimed(str(command[1]), *reply)
            return
        unwanted = []
        for stream, entry, fields in entries_of(reply):
            self._last[stream] = entry.decode()
            if not self._take_in(stream, entry, fields):
                unwanted.append((stream, entry))
        self._acknowledge(unwanted)

    def _claimed(self, stream: str, cursor: bytes, entries: Sequence[Any], dropped: Sequence[bytes] = ()) -> None:
        unwanted = []
        for entry, fields in filter(None, entries):
            if not self._window.holds((stream, entry)) and not self._take_in(stream, entry, fields, again=True):
                unwanted.append((stream, entry))
        self._acknowledge(unwanted)
        self._cursors[stream] = cursor
        self._claiming |= bool(entries) or cursor != b"0-0"
        if dropped:
            self._tell_of_losses(stream, len(dropped))

    def _refused(self, error: redis.ResponseError) -> None:
        if not str(error).startswith(_GONE):
            raise error
        self._create()

    def _look_after(self) -> None:
        now = time.monotonic()
        if now - self._renewed_at > self._claim_after / 3:
            self._renewed_at = now
            for stream, entries in _by_stream(self._window.held).items():
                command = ("XCLAIM", stream, self._group, self._consumer, 0, *entries, "JUSTID")
                self._telling.call(command)
        if now - self._looked_at > _LOOK_AFTER:
            self._looked_at = now
            for stream in self._streams:
                counts = self._telling.call(("EVAL", scripts.LOSSES, 1, stream, self._group))[0]
                if counts and not isinstance(counts, Exception):
                    self._tell_of_losses(stream, *counts)

    def _tell_of_losses(self, stream: str, lost: int, behind: int | None = None) -> None:
        if lost:
            logger.error(
                "%s: stream %s dropped %d events that it had not handled: it is too slow for max_length",
                *(self._name, stream, lost),
            )
        if behind is None or self._max_length is None:
            return
        if behind <= _FAR_BEHIND * self._max_length:
            self._behind.discard(stream)
        elif stream not in self._behind:
            self._behind.add(stream)
            logger.warning(
                "%s is %d events behind, and stream %s keeps about %d: it will lose some unless it becomes faster",
                *(self._name, behind, stream, self._max_length),
            )

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """See `Receiver.acknowledge`."""
        with self._losing():
            self._acknowledge(message.tag for message in self._window.settle(messages))

    def _acknowledge(self, tags: Iterable[Any]) -> None:
        commands = [("XACK", stream, self._group, *entries) for stream, entries in _by_stream(tags).items()]
        if commands:
            raise_refusals(self._telling.call(*commands))

    def give_back(self, messages: Sequence[Received]) -> None:
        """See `Receiver.give_back`. They come with the next read of any consumer, within about a second."""
        with self._losing():
            for stream, entries in _by_stream(message.tag for message in self._window.settle(messages)).items():
                self._tell(("EVAL", scripts.GIVE_BACK, 1, stream, self._group, scripts.RETURNED, *entries))

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            with lost_is_os_error(self._name):
                yield
        except OSError:
            self._lost()
            raise

    def close(self) -> None:
        """See `Receiver.close`."""
        try:
            if self._reading.connected:
                self._end_read()
                for stream in self._streams:
                    self._tell(("EVAL", scripts.RELEASE, 1, stream, self._group, scripts.RETURNED, self._consumer))
        except (redis.RedisError, OSError):
            pass  # others take it over after `claim_after`
        finally:
            self._lost()
            self._window.clear()
            self._bell.close()

    def _end_read(self) -> None:
        """What it still brings is released with the rest."""
        if self._awaited and self._client_id is not None:
            self._telling.call(("CLIENT", "UNBLOCK", self._client_id))
        for _ in range(len(self._awaited)):
            try:
                self._reading.read()
            except redis.ResponseError:
                pass
        self._reading.close()


def _by_stream(tags: Iterable[Any]) -> dict[str, list[bytes]]:
    entries: dict[str, list[bytes]] = {}
    for stream, entry in tags:
        entries.setdefault(stream, []).append(entry)
    return entries
