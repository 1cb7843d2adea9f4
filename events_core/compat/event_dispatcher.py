"""EventDispatcher: handlers by the event's type, as home-made dispatchers have them."""

from __future__ import annotations

from typing import Any, Unpack

from events_core.compat.ambient import bind, only_system
from events_core.emitter import Emission
from events_core.events import Event
from events_core.handler_options import HandlerOptions
from events_core.system import EventSystem


class EventDispatcher:
    """Registers handlers with an EventSystem and emits events to it: each handler has a delivery of its own.

    system: default is the only one of the process; handlers that are registered before it is made wait for it.
    """

    def __init__(self, system: EventSystem | None = None) -> None:
        self._system = system

    def register(self, event_type: type[Event] | str, handler: Any, **options: Unpack[HandlerOptions]) -> None:
        """Bind a handler to an event's type, or a pattern such as ``order.*``; options as `EventMap.bind`.

        Raises ConfigurationError where there are several systems; and as `EventMap.bind`.
        """
        bind(event_type, handler, self._system, options, "EventDispatcher(system)")

    async def dispatch(self, event: Event) -> Emission:
        """Emit an event; return when the broker has confirmed its deliveries.

        Raises ConfigurationError where there is no system, or several; and as `EventSystem.aemit`.
        """
        name = type(event).__name__
        return await (self._system or only_system(f"{name} cannot be dispatched", "EventDispatcher(system)")).aemit(
            event
        )
