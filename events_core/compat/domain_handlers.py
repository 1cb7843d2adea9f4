"""Handlers that are found by their generic parameter, and the registry that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar, get_args, get_origin

from events_core.errors import BindError, DuplicateBinding
from events_core.events import Event, IntegrationEvent
from events_core.handlers import EventHandler

E_contra = TypeVar("E_contra", bound=Event, contravariant=True)


class DomainEventHandlerRegistry:
    """Which handler classes belong to which events, in the order they were added.

    handlers: for each event class its handlers. Raises as `add`.
    """

    def __init__(self, handlers: Mapping[type[Event], Iterable[type[DomainEventHandler[Any]]]] | None = None) -> None:
        self._bound: list[tuple[type[Event], type[DomainEventHandler[Any]]]] = []
        for event, added in (handlers or {}).items():
            for handler in added:
                self.add(event, handler)

    def add(self, event: type[Event], handler: type[DomainEventHandler[Any]]) -> None:
        """Add a handler. One of a module that is loaded anew takes the place of the older one.

        Raises BindError for what is no domain event, DuplicateBinding for a handler that is there already.
        """
        if not isinstance(event, type) or not issubclass(event, Event) or issubclass(event, IntegrationEvent):
            raise BindError(f"{handler.__qualname__}: {event!r:.80} is no domain event: subclass DomainEvent")
        for place, (other, known) in enumerate(self._bound):
            if _name(other) == _name(event) and _name(known) == _name(handler):
                if known is handler:
                    raise DuplicateBinding(
                        f"{_name(handler)} is registered for {event.__qualname__} already: remove one of the two"
                    )
                self._bound[place] = (event, handler)
                return
        self._bound.append((event, handler))

    def remove(self, event: type[Event], handler: type[DomainEventHandler[Any]]) -> None:
        """Remove a handler. Raises BindError where it is not there."""
        if (event, handler) not in self._bound:
            raise BindError(f"{_name(handler)} is not registered for {event.__qualname__}")
        self._bound.remove((event, handler))

    def get(self, event: type[Event]) -> list[type[DomainEventHandler[Any]]]:
        """The handlers of an event class and of its base classes, each once."""
        return list(dict.fromkeys(handler for bound, handler in self._bound if issubclass(event, bound)))


class DomainEventHandler(EventHandler[E_contra]):
    """A handler that runs in the transaction of what its event tells, found by the event in its parameter::

        class CreateInvoice(DomainEventHandler[OrderCompleted]):
            async def handle(self, event: OrderCompleted) -> None: ...

    Defining the class puts it into `registry`, the default of factories. Raises as `DomainEventHandlerRegistry.add`.
    """

    registry: ClassVar[DomainEventHandlerRegistry] = DomainEventHandlerRegistry()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, DomainEventHandler):
                for event in get_args(base):
                    if not isinstance(event, TypeVar):  # of a base class of handlers
                        DomainEventHandler.registry.add(event, cls)


def _name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
