"""EventPublisher: what a service layer publishes its entities' events with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Protocol

from events_core.entities import emitted
from events_core.events import Event
from events_core.system import EventSystem


class EventPublisher(Protocol):
    """Publishes events. Ours are `SystemEventPublisher`, `RedisEventPublisher` and `InMemoryEventPublisher`."""

    @abstractmethod
    async def publish(self, event: Event) -> None:
        """Publish one event; return when it is safe."""

    @abstractmethod
    async def publish_all(self, events: Iterable[Event]) -> None:
        """Publish events in order; return when all are safe."""


class InMemoryEventPublisher(EventPublisher):
    """Keeps what is published in `events`, for tests."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish(self, event: Event) -> None:
        """See `EventPublisher.publish`."""
        await self.publish_all([event])

    async def publish_all(self, events: Iterable[Event]) -> None:
        """See `EventPublisher.publish_all`."""
        published = list(events)
        self.events.extend(published)
        emitted(published)  # no entity gets them back


class SystemEventPublisher(EventPublisher):
    """Emits to the handlers and the message broker of an EventSystem. Raises as `EventSystem.aemit`."""

    def __init__(self, system: EventSystem) -> None:
        self._system = system

    async def publish(self, event: Event) -> None:
        """See `EventPublisher.publish`."""
        await self._system.aemit(event)

    async def publish_all(self, events: Iterable[Event]) -> None:
        """See `EventPublisher.publish_all`. They go out in one batch."""
        await self._system.aemit_many(events)
