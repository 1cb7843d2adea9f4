"""IntegrationEventBus: what an application sends integration events with, and hears those of others by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from events_core.bus.topology import IntegrationEventBusRegistration, Topic
from events_core.events import IntegrationEvent


class IntegrationEventBus(ABC):
    """Producers send events to a topic; consumers register for some events of a topic.

    Ours is `EventBus`. An application may implement another one. As an async context manager it is started and shut
    down.
    """

    @abstractmethod
    async def register(self, registration: IntegrationEventBusRegistration) -> None:
        """From now on the consumer gets these events of that topic, and of what it got of it before no others.

        May be called before or after startup, and again.
        """

    @abstractmethod
    async def unregister(self, registration: IntegrationEventBusRegistration) -> None:
        """The consumer wants no more events of that topic."""

    @abstractmethod
    async def startup(self) -> None:
        """Begin to receive."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Stop receiving, and finish what runs."""

    @abstractmethod
    async def send(self, topic: Topic, event: IntegrationEvent) -> None:
        """Publish an event to a topic; return when it is safe with the broker."""

    async def __aenter__(self) -> Self:
        await self.startup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.shutdown()
