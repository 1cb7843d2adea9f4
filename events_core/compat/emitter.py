"""EventEmitter as diator and python-cqrs have it: made of an event map, a container and a message broker."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from events_core.brokers import MessageBroker
from events_core.containers import AnyContainer
from events_core.emitter import Emission
from events_core.errors import ConfigurationError
from events_core.event_map import EventMap
from events_core.events import Event
from events_core.group_emitter import OnComplete
from events_core.groups import Group
from events_core.handlers import real_module_name
from events_core.hold import Hold
from events_core.system import EventSystem


class EventEmitter:
    """Emits domain events to the handlers of an event map, and others to a message broker.

    It stands for an EventSystem, its attribute `system`, which ``events worker -A module`` finds by it.

    event_map, container, message_broker: as of `EventSystem`. system: one that exists already, and has these itself.
    name: of the system that is made otherwise; default: the top-level package of the module that makes it. settings:
    as of `EventSystem`.

    Raises ConfigurationError where `system` has another event map, container or message broker than is given here.
    """

    def __init__(
        self,
        event_map: EventMap | None = None,
        container: AnyContainer | None = None,
        message_broker: MessageBroker | None = None,
        *,
        system: EventSystem | None = None,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        if system is not None:
            given = {"event_map": event_map, "container": container, "message_broker": message_broker}
            _check_same(system, given)
            self.system = system
            return
        module = real_module_name(sys._getframe(1).f_globals.get("__name__", "__main__"))
        self.system = EventSystem(
            name or module.partition(".")[0],
            event_map=event_map,
            container=container,
            message_broker=message_broker,
            **settings,
        )
        self.system.module = module  # where workers find it again; not here

    @property
    def container(self) -> AnyContainer | None:
        """The system's, by which a Mediator makes request handlers, too."""
        return self.system.container

    async def emit(self, event: Event) -> Emission:
        """As `EventSystem.aemit`."""
        return await self.system.aemit(event)

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `EventSystem.emit_many`."""
        return self.system.emit_many(events, now=now)

    async def aemit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `EventSystem.aemit_many`."""
        return await self.system.aemit_many(events, now=now)

    def emit_group(
        self, events: Iterable[Event], *, max_parallel: int, on_complete: OnComplete = None, name: str = ""
    ) -> Group:
        """As `EventSystem.emit_group`."""
        return self.system.emit_group(events, max_parallel=max_parallel, on_complete=on_complete, name=name)

    async def aemit_group(
        self, events: Iterable[Event], *, max_parallel: int, on_complete: OnComplete = None, name: str = ""
    ) -> Group:
        """As `EventSystem.aemit_group`."""
        return await self.system.aemit_group(events, max_parallel=max_parallel, on_complete=on_complete, name=name)

    def hold(self) -> Hold:
        """As `EventSystem.hold`."""
        return self.system.hold()


def _check_same(system: EventSystem, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None and value is not getattr(system, name):
            raise ConfigurationError(
                f"EventEmitter(system=...) takes no other {name} than the system's own: give it to "
                f"EventSystem({system.name!r}, {name}=...) instead"
            )
