"""Domain event handlers made by a dishka container, in the scope of the request whose transaction they share."""

from __future__ import annotations

from typing import Any

from dishka import AsyncContainer, Provider, Scope, provide

from events_core.compat.domain_dispatcher import DomainEventDispatcher
from events_core.compat.domain_factory import DomainEventHandlerFactory
from events_core.compat.domain_handlers import DomainEventHandler, DomainEventHandlerRegistry
from events_core.events import Event
from events_core.system import EventSystem


class DishkaDomainEventHandlerFactory(DomainEventHandlerFactory):
    """Gets the handlers from the container of the request, whose repositories and session they are given."""

    def __init__(self, container: AsyncContainer, registry: DomainEventHandlerRegistry) -> None:
        self._container = container
        self._registry = registry

    async def create(self, event_type: type[Event]) -> list[DomainEventHandler[Any]]:
        """See `DomainEventHandlerFactory.create`. Raises dishka's errors for a handler that nobody provides."""
        return [await self._container.get(handler) for handler in self._registry.get(event_type)]


class DomainEventImplementationProvider(Provider):
    """Provides the factory and the dispatcher, in REQUEST scope, and the registry.

    The registry is the default one, or that of the container's context. system: given to the dispatcher.
    """

    def __init__(self, system: EventSystem | None = None) -> None:
        super().__init__()
        self._system = system

    @provide(scope=Scope.APP)
    def registry(self) -> DomainEventHandlerRegistry:
        """The default one."""
        return DomainEventHandler.registry

    @provide(scope=Scope.REQUEST)
    def factory(self, container: AsyncContainer, registry: DomainEventHandlerRegistry) -> DomainEventHandlerFactory:
        """One for each request."""
        return DishkaDomainEventHandlerFactory(container, registry)

    @provide(scope=Scope.REQUEST)
    def dispatcher(self, factory: DomainEventHandlerFactory) -> DomainEventDispatcher:
        """One for each request."""
        return DomainEventDispatcher(factory, self._system)
