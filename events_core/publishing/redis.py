"""Publishing to Redis in kombu's wire format: one command for each queue, all in one pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from events_core.publishing.messages import Message
from events_core.publishing.redis_pipeline import RedisPipeline, connections
from events_core.transport import keys, payload, scripts

_JSON = ("application/json", "utf-8")


class RedisPublisher:
    """Publishes to the lists that kombu's Redis transport reads, or to the streams that ours reads.

    url: redis-py's form. options: further ones of redis-py connections (TLS). key_prefix: kombu's `global_keyprefix`.
    streams: whether to streams.
    """

    def __init__(
        self, url: str, options: Mapping[str, Any] | None = None, key_prefix: str = "", *, streams: bool = False
    ) -> None:
        self._prefix = key_prefix
        self._command = self._add if streams else self._push
        self._pipeline = RedisPipeline(connections(url, options))

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """See `Publisher.publish`."""
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.delivery.queue, []).append(message)
        commands = [self._command(queue, batch) for queue, batch in by_queue.items()]
        deliveries = [[message.delivery for message in batch] for batch in by_queue.values()]
        self._pipeline.publish(commands, deliveries, timeout)

    def close(self) -> None:
        """See `Publisher.close`."""
        self._pipeline.close()

    def _push(self, queue: str, batch: Sequence[Message]) -> tuple[Any, ...]:
        return ("LPUSH", self._prefix + queue, *map(encode, batch))

    def _add(self, queue: str, batch: Sequence[Message]) -> tuple[Any, ...]:
        stream = keys.stream_key(self._prefix, queue)
        if len(batch) == 1:
            return ("XADD", stream, "*", keys.FIELD, encode(batch[0]))
        return ("EVAL", scripts.ADD, 1, stream, *map(encode, batch))


def encode(message: Message) -> bytes:
    """A message as kombu's virtual transports store it."""
    delivery = message.delivery
    properties = {"correlation_id": delivery.task_id, "reply_to": ""}
    return payload.encode(message.body, _JSON, message.headers, properties, "", delivery.queue)
