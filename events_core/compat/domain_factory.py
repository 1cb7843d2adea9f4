"""DomainEventHandlerFactory: makes the handlers of an event within the caller's transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from typing import Any

from events_core.compat.domain_handlers import DomainEventHandler
from events_core.events import Event

Handlers = Iterable[DomainEventHandler[Any]]


class DomainEventHandlerFactory(ABC):
    """Makes handlers, with what their constructors take from the caller's transaction. Derive from it.

    A registry tells which classes they are: `DomainEventHandler.registry`, or one of your own.
    """

    @abstractmethod
    def create(self, event_type: type[Event]) -> Handlers | Awaitable[Handlers]:
        """The handlers of an event class, in order. May be ``async def``."""
