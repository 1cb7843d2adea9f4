"""EventProcessor: what a command has collected is emitted: domain events as a group, the others to their broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from events_core.emitter import DeliveryEmitter
from events_core.entities import emitted, not_emitted
from events_core.errors import EmitMisused, NotAnEvent
from events_core.events import Event, IntegrationEvent
from events_core.group_emitter import GroupEmitter
from events_core.groups import Group, GroupProgress


class EmitsGroups(Protocol):
    """What is needed of an EventSystem. emit_many, aemit_many: for integration events."""

    def emit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group: ...

    async def aemit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group: ...


class NoDeliveries(Group):
    """Of integration events alone: there is nothing to wait for, and no Redis to ask. No other process knows it."""

    def __init__(self) -> None:
        super().__init__("", _unasked)

    def progress(self) -> GroupProgress:
        """Completed, of nothing."""
        return GroupProgress(0, 0, 0, 0, 0, 0, 0, "completed")

    def cancel(self) -> None:
        """Nothing is left to be cancelled."""


def _unasked() -> Any:
    raise LookupError("integration events alone have no group")


class EventProcessor:
    """Emits events as a group, so that at most so many of their deliveries run at once, in all workers together.

    emitter: an EventSystem or DeliveryEmitter. max_concurrent_event_handlers: deliveries, one event for one handler, of
    one call of `emit_events`. concurrent_event_handle_enable: False: one after another, each begun when the one before
    has settled, in the order of the events and, for one event, of its handlers.

    The names are those of python-cqrs, whose semaphore counts events in one process: there, handlers of one event run
    beside each other whatever the limit.

    Raises ValueError for a number that is below 1.
    """

    def __init__(
        self,
        emitter: EmitsGroups | DeliveryEmitter,
        max_concurrent_event_handlers: int = 10,
        concurrent_event_handle_enable: bool = True,
    ) -> None:
        number = max_concurrent_event_handlers
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"max_concurrent_event_handlers={number!r} must be a whole number from 1 on")
        self._emitter: Any = emitter
        self._groups: EmitsGroups = GroupEmitter(emitter) if isinstance(emitter, DeliveryEmitter) else emitter
        self._max_parallel = number if concurrent_event_handle_enable else 1

    def emit_events(self, events: Iterable[Event]) -> Group:
        """Emit the events; return when all are safe. The group tells how they fare; ``await`` it to wait for them all.

        Domain events are the group, in their order. Integration events go to the message broker, in their order and
        before it: they have no deliveries here that a group could count. Where those fail, nothing of the group is
        emitted. Where the group fails, they are confirmed already; emitting the same event objects again gives them
        the same ids. Inside a handler the group is emitted at once, integration events when the handler has succeeded.

        Raises as `EventSystem.emit_group` and `EventSystem.emit_many`.
        """
        domain, integration = self._sorted(events)
        if integration:
            self._emitter.emit_many(integration)
            if not domain:
                return NoDeliveries()
        with _told_to_entities(domain):
            return self._groups.emit_group(domain, max_parallel=self._max_parallel)

    async def aemit_events(self, events: Iterable[Event]) -> Group:
        """As `emit_events`, without blocking the event loop."""
        domain, integration = self._sorted(events)
        if integration:
            await self._emitter.aemit_many(integration)
            if not domain:
                return NoDeliveries()
        with _told_to_entities(domain):
            return await self._groups.aemit_group(domain, max_parallel=self._max_parallel)

    def _sorted(self, events: Iterable[Event]) -> tuple[list[Event], list[IntegrationEvent]]:
        domain, integration = _sorted(events)
        if domain and integration:
            self.check_may_emit()  # before the others go out
        return domain, integration

    def check_may_emit(self) -> None:
        """Raise EmitMisused where its groups could not be emitted: in `hold`, and in a transaction that emit waits for.

        A mediator asks before the handler runs.
        """
        emitter = getattr(self._emitter, "emitter", self._emitter)
        if isinstance(emitter, DeliveryEmitter):
            try:
                emitter.check_may_send()
            except EmitMisused as error:
                raise EmitMisused(
                    "an EventProcessor emits groups, which are emitted at once, and cannot wait for hold(), for held() "
                    "of FastAPI or for a transaction: use the mediator without event_processor= there"
                ) from error


@contextmanager
def _told_to_entities(events: list[Event]) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:  # which withdraws nothing
        raise
    except BaseException:
        not_emitted(events)
        raise
    emitted(events)


def _sorted(events: Iterable[Any]) -> tuple[list[Event], list[IntegrationEvent]]:
    if isinstance(events, Event):  # a model can be iterated, over its fields
        raise NotAnEvent(f"emit_events takes a list of events, not one {type(events).__name__}: [event]")
    domain: list[Event] = []
    integration: list[IntegrationEvent] = []
    for event in events:
        if isinstance(event, IntegrationEvent):
            integration.append(event)
        elif isinstance(event, Event):
            domain.append(event)
        else:  # told before anything is sent
            raise NotAnEvent(f"a {type(event).__name__} is no event: emit instances of DomainEvent subclasses")
    return domain, integration
