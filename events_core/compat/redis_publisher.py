"""RedisEventPublisher: events of any kind in one Redis stream, which others read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

import redis
import redis.asyncio
from pydantic_core import to_json

from events_core.brokers import IntegrationMessage, RedisStreamBroker
from events_core.compat.domain_event import DomainEvent
from events_core.compat.publishers import EventPublisher
from events_core.entities import emitted, not_emitted
from events_core.envelope import Envelope
from events_core.events import Event, IntegrationEvent
from events_core.publishing.base import publish_in_chunks
from events_core.publishing.messages import Delivery
from events_core.scope import current_scope


class RedisEventPublisher(EventPublisher):
    """Adds events to a stream, each as one entry with a field for each part; `payload` is a text of JSON.

    redis_client: a `redis.Redis`, a `redis.asyncio.Redis` or a URL; connections of our own are made like it.
    stream_name: of the stream. max_length: events that it keeps, about; None: all. timeout: seconds for each chunk of
    at most 1,000.

    Raises ConfigurationError for another client; publishing raises EmitError, which tells what is safe.
    """

    def __init__(
        self,
        redis_client: str | redis.Redis | redis.asyncio.Redis,
        stream_name: str = "domain-events",
        *,
        max_length: int | None = None,
        timeout: float = 2.0,
    ) -> None:
        self._broker = RedisStreamBroker(redis_client, stream_name=stream_name, max_length=max_length)
        self._stream = stream_name
        self._timeout = timeout

    async def publish(self, event: Event) -> None:
        """See `EventPublisher.publish`."""
        await self.publish_all([event])

    async def publish_all(self, events: Iterable[Event]) -> None:
        """See `EventPublisher.publish_all`. They go out in one write."""
        events = list(events)
        try:
            messages = [self._message(event) for event in events]
            if messages:
                await asyncio.to_thread(publish_in_chunks, self._broker, messages, self._timeout)
        except BaseException:
            not_emitted(events)
            raise
        emitted(events)

    def close(self) -> None:
        """Close the connections. It can be used again."""
        self._broker.close()

    def _message(self, event: Event) -> IntegrationMessage:
        scope = current_scope()
        envelope = Envelope.of(event, None if scope is None else scope.cause)
        if isinstance(event, DomainEvent):
            envelope.data = to_json(event.to_dict()["payload"])
        written = self._broker.format  # it looks at the envelope only, which any event has
        body = written.encode(cast("IntegrationEvent", event), envelope, self._broker.source)
        delivery = Delivery("", envelope.id, self._stream)
        return IntegrationMessage(delivery, envelope, body, written.content_type, event.occurred_at)
