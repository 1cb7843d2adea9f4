"""EventProcessor: what a command has collected is emitted one after another, or some at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from events_core.emitter import EventEmitter
from events_core.events import Event
from events_core.group_emitter import GroupEmitter
from events_core.groups import Group


class EmitsGroups(Protocol):
    """What is needed of an EventSystem."""

    def emit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group: ...

    async def aemit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group: ...


class EventProcessor:
    """Emits events as a group, so that at most so many of their deliveries run at once, in all workers together.

    emitter: an EventSystem or EventEmitter. max_concurrent_event_handlers: deliveries, one event for one handler, of
    one call of `emit_events`. concurrent_event_handle_enable: False: one after another, each begun when the one before
    has settled, in the order of the events and, for one event, of its handlers.

    The names are those of python-cqrs, whose semaphore counts events in one process: there, handlers of one event run
    beside each other whatever the limit.

    Raises ValueError for a number that is below 1.
    """

    def __init__(
        self,
        emitter: EmitsGroups | EventEmitter,
        max_concurrent_event_handlers: int = 10,
        concurrent_event_handle_enable: bool = True,
    ) -> None:
        number = max_concurrent_event_handlers
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"max_concurrent_event_handlers={number!r} must be a whole number from 1 on")
        self._emitter: EmitsGroups = GroupEmitter(emitter) if isinstance(emitter, EventEmitter) else emitter
        self._max_parallel = number if concurrent_event_handle_enable else 1

    def emit_events(self, events: Iterable[Event]) -> Group:
        """Emit the events; return when all are safe. The group tells how they fare; ``await`` it to wait for them all.

        Raises as `EventSystem.emit_group`.
        """
        return self._emitter.emit_group(events, max_parallel=self._max_parallel)

    async def aemit_events(self, events: Iterable[Event]) -> Group:
        """As `emit_events`, without blocking the event loop."""
        return await self._emitter.aemit_group(events, max_parallel=self._max_parallel)
