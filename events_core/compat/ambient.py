"""What names no EventSystem uses the only one of the process, and never guesses among several."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from events_core import system as system_module
from events_core.compat.waiting import Waiting, WaitingHandlers
from events_core.errors import ConfigurationError
from events_core.event_map import check_event
from events_core.events import Event
from events_core.handler_options import HandlerOptions
from events_core.handlers import inspect_handler
from events_core.system import EventSystem

H = TypeVar("H")


waiting_handlers = WaitingHandlers()


def event_handler(
    event_type: type[Event] | str, *, system: EventSystem | None = None, **options: Unpack[HandlerOptions]
) -> Callable[[H], H]:
    """Decorator that binds a function or class to an event's type; options as `EventMap.bind`.

    system: default is the only one of the process, if need be once it is made and loads its handlers.
    Raises ConfigurationError where there are several; and as `EventMap.bind`.
    """

    def register(handler: H) -> H:
        bind(event_type, handler, system, options, f"event_handler({_shown(event_type)}, system=...)")
        return handler

    return register


def publish_event(event: Event, system: EventSystem | None = None) -> None:
    """Emit an event; return when the broker has confirmed its deliveries.

    system: default is the only one of the process. Raises ConfigurationError where there is none, or several; and as
    `EventSystem.emit`.
    """
    name = type(event).__name__
    (system or only_system(f"{name} cannot be published", "event.publish(system), or system.emit(event)")).emit(event)


def only_system(problem: str, way: str) -> EventSystem:
    """The only EventSystem of the process. Raises ConfigurationError: `problem`, why, and `way` to say which."""
    found = _alive()
    if not found:
        raise ConfigurationError(
            f'{problem}: there is no EventSystem in this process. Make one, events = EventSystem("shop"), and import '
            "its module here"
        )
    if len(found) > 1:
        raise ConfigurationError(f"{problem}: this process has {_listed(found)}. Say which: {way}")
    bind_waiting(found[0])
    return found[0]


def bind(event: type[Event] | str, handler: Any, system: EventSystem | None, options: HandlerOptions, way: str) -> None:
    """Bind a handler to `system`, to the only one there is, or, where there is none yet, to the first that loads."""
    if system is None:
        if not _alive():
            check_event(event)
            inspect_handler(handler, **options)  # what cannot be a handler is told here, where it stands
            waiting_handlers.add(Waiting(event, handler, options))
            return
        system = only_system(f"{_name(handler)} cannot be bound to {_shown(event)}", way)
    system.bind(event, handler, **options)


def bind_waiting(system: EventSystem) -> None:
    """Bind what was registered before there was a system. Called by each system when it loads its handlers.

    Raises ConfigurationError where there are several; and as `EventMap.bind`.
    """

    def bind_one(waiting: Waiting) -> None:
        event, handler, options = waiting
        found = _alive()
        if len(found) > 1:
            raise ConfigurationError(
                f"{_name(handler)} was registered for {_shown(event)} before any EventSystem was made, and now there "
                f"are {_listed(found)}. Say which: event_handler({_shown(event)}, system=...)"
            )
        system.bind(event, handler, **options)

    waiting_handlers.bind_all(bind_one)


def _alive() -> list[EventSystem]:
    found = list(system_module.systems)
    if len(found) > 1:
        del found
        gc.collect()  # one that only its own reference cycle keeps is no rival
        found = list(system_module.systems)
    return sorted(found, key=lambda system: system.name)


def _listed(systems: list[EventSystem]) -> str:
    return f"{len(systems)} EventSystems ({', '.join(f'{system.name!r} of {system.module}' for system in systems)})"


def _shown(event: type[Event] | str) -> str:
    return repr(event) if isinstance(event, str) else event.__qualname__


def _name(handler: Any) -> str:
    return f"{getattr(handler, '__module__', '')}.{getattr(handler, '__qualname__', handler)}"


system_module.when_loaded.append(bind_waiting)
