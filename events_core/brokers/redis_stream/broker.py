"""Integration events in Redis streams: kept for everyone, up to a length, and read by consumer groups."""

from __future__ import annotations

import math
from typing import Any

import redis
import redis.asyncio

from events_core.brokers.base import Format, FormatName, IntegrationMessage, Promises, Receiver, Subscription
from events_core.brokers.redis_base import RedisBroker
from events_core.brokers.redis_stream import scripts
from events_core.brokers.redis_stream.entries import fields_of
from events_core.brokers.redis_stream.group import GroupReceiver
from events_core.brokers.redis_stream.tail import TailReceiver
from events_core.errors import ConfigurationError


class RedisStreamBroker(RedisBroker):
    """Adds each event to the stream that is named after its topic, or to one for all topics.

    A queue is a consumer group: it begins with what is added after `declare`. A stream keeps about `max_length`
    events, read or not: a group that falls further behind loses the oldest, which its consumers tell of in the log
    (from Redis 7 on, which counts them). Needs Redis 6.2.

    url: see `RedisBroker`. stream_name: of one stream for all topics. max_length: of each stream, about (``MAXLEN ~``);
    None: nothing is ever dropped. claim_after: seconds after which what a consumer holds is taken over by another
    one, if it does not call `receive` meanwhile: after a crash, that long nobody has it.
    format: `record` gives each part of an event a field of its own; in others the body is one field.

    Raises ConfigurationError also for a `claim_after` below 1 and a `max_length` that is no whole number from 1 on.
    """

    promises = Promises("at least once", durable=True, ordered=True, shared=True, routed=True, tells_unroutable=False)

    def __init__(
        self,
        url: str | redis.Redis | redis.asyncio.Redis | None = None,
        *,
        stream_name: str | None = None,
        max_length: int | None = 100_000,
        claim_after: float = 60.0,
        format: FormatName | Format = "record",
    ) -> None:
        super().__init__(url, format)
        if not _is_number(claim_after, int | float) or not 1 <= claim_after < math.inf:
            raise ConfigurationError(f"claim_after={claim_after!r:.80}: give a number of seconds, at least 1")
        if max_length is not None and (not _is_number(max_length, int) or max_length < 1):
            raise ConfigurationError(
                f"max_length={max_length!r:.80}: give a number of events from 1 on, or None to keep all of them"
            )
        self._stream_name = stream_name
        self._max_length = max_length
        self._claim_after = claim_after
        self._trim = () if max_length is None else ("MAXLEN", "~", max_length)
        self._is_record = self.format.name == "record"

    def address(self, topic: str, message_type: str) -> str:
        """See `MessageBroker.address`: the stream."""
        return self._stream_name or topic

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """See `MessageBroker.declare`. The groups exist from now on; what was added before is not for them."""
        if not subscription.lasting:
            return  # its receiver reads everything from then on, and leaves nothing behind
        streams = self._streams(subscription.bindings)
        commands = [("EVAL", scripts.CREATE, 1, stream, subscription.queue, "$") for stream in streams]
        gone = {*self._streams(obsolete)} - {*streams}
        self.call(*commands, *(("EVAL", scripts.DESTROY, 1, stream, subscription.queue) for stream in sorted(gone)))

    def delete(self, subscription: Subscription) -> None:
        """See `MessageBroker.delete`. The events stay in the stream, for others."""
        streams = self._streams(subscription.bindings)
        self.call(*(("EVAL", scripts.DESTROY, 1, stream, subscription.queue) for stream in streams))

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Receiver:
        """See `MessageBroker.receiver`. One that is not lasting reads everything from its first `receive` on."""
        streams = self._streams(subscription.bindings)
        if not subscription.lasting:
            return TailReceiver(self.connections, subscription, streams, prefetch)
        return GroupReceiver(self.connections, subscription, streams, prefetch, self._claim_after, self._max_length)

    def _streams(self, bindings: frozenset[tuple[str, str]]) -> dict[str, str]:
        topics = sorted({topic for topic, _ in bindings})
        if self._stream_name is not None:
            return {self._stream_name: ""} if topics else {}
        return {topic: topic for topic in topics}

    def _command(self, message: IntegrationMessage) -> tuple[Any, ...]:
        topic = None if self._stream_name is None else message.topic
        fields = fields_of(message, record=self._is_record, topic=topic)
        return ("XADD", self._stream_name or message.topic, *self._trim, "*", *fields)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
