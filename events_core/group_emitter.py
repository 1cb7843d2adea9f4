"""Emitting a group: its deliveries enter the coordination Redis a part at a time, whatever their number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import redis

from events_core import entities
from events_core.emitter import DeliveryEmitter
from events_core.errors import EmitError, NotAnEvent
from events_core.events import Event
from events_core.group_completion import Completion
from events_core.groups import Group, GroupCompleted
from events_core.ids import new_event_id
from events_core.publishing.messages import Message
from events_core.publishing.signals import after_publish, before_publish
from events_core.scope import HandlingScope, current_scope

#: Deliveries that enter together, and the bytes and seconds after which fewer do.
_PART, _LARGE, _LONGEST_PART = 500, 1_000_000, 1.0
#: Milliseconds after which an emitter that has entered nothing more counts as dead.
_LEASE = 60_000

OnComplete = GroupCompleted | type[GroupCompleted] | None


class GroupEmitter:
    """Emits groups to the handlers of an emitter."""

    def __init__(self, emitter: DeliveryEmitter) -> None:
        self._emitter = emitter

    def emit_group(
        self, events: Iterable[Event], *, max_parallel: int, on_complete: OnComplete = None, name: str = ""
    ) -> Group:
        """As `EventSystem.emit_group`."""
        if isinstance(max_parallel, bool) or not isinstance(max_parallel, int) or max_parallel < 1:
            raise ValueError(f"max_parallel={max_parallel!r} must be a whole number from 1 on")
        given: Any = events
        if isinstance(given, Event):  # a model can be iterated, over its fields
            raise NotAnEvent(f"emit_group takes a list of events, not one {type(given).__name__}: [event]")
        if not isinstance(given, Iterable):
            more = ", and no async one: collect its events first" if hasattr(given, "__aiter__") else ""
            raise NotAnEvent(f"emit_group takes a list of events or a generator{more}, not {type(given).__name__}")
        self._emitter.check_may_send()
        self._emitter.warn_if_blocking("emit_group")
        scope = current_scope()
        group = Group(str(new_event_id("group")), lambda: self._emitter.turns)
        fields = {"name": str(name), "created": f"{time.time():.3f}"}
        if scope is not None:  # its run may be repeated
            fields["repeats"] = "1"
        if on_complete is not None:
            completion = Completion.of(on_complete, scope)
            self._emitter.messages_of(completion.event, scope)  # what is wrong with it is told now, not at the end
            fields |= completion.fields()
        _Emission(self._emitter, group.id, max_parallel, fields, scope).emit(events)
        return group

    async def aemit_group(self, events: Iterable[Event], **options: Any) -> Group:
        """As `emit_group`, without blocking the event loop."""
        return await asyncio.to_thread(self.emit_group, events, **options)


class _Emission:
    """The emission of one group."""

    def __init__(
        self,
        emitter: DeliveryEmitter,
        group: str,
        max_parallel: int,
        fields: dict[str, str],
        scope: HandlingScope | None,
    ) -> None:
        self._emitter = emitter
        self._group = group
        self._max = str(max_parallel)
        self._fields = fields
        self._scope = scope
        self._opened = False
        self._sealed = False
        self._entered = 0
        self._part: list[Message] = []
        #: The events that are in no part yet that has entered: their entities get them back if it fails.
        self._events: list[Event] = []
        self._part_ends = 0.0
        self._bytes = 0

    def emit(self, events: Iterable[Event]) -> None:
        """Enter them all, and seal the group."""
        event: Event | None = None
        try:
            for event in events:
                self._add(event)
            self._enter()
            if not self._call(["seal", self._group]):
                raise self._lost()
        except BaseException as error:
            entities.not_emitted(self._events if event is None else [*self._events, event])
            if self._opened and not self._sealed:
                self._abandon(error)
            raise

    def _add(self, event: Event) -> None:
        if self._sealed:  # a run before this one has emitted all of it; the ids that follow must be the same again
            return
        messages = self._emitter.messages_of(event, self._scope, self._group)
        self._bytes += sum(len(message.body) for message in messages)
        full = len(self._part) + len(messages) > _PART or self._bytes > _LARGE or time.monotonic() > self._part_ends
        if self._part and full:
            self._enter()
            self._bytes = sum(len(message.body) for message in messages)
        if not self._part:
            self._part_ends = time.monotonic() + _LONGEST_PART
        self._part += messages
        if messages:
            self._events.append(event)

    def _enter(self) -> None:
        part, self._part = self._part, []
        opened = self._call(["open", self._group, self._max, _LEASE, self._fields, self._entered], part)
        if opened == "lost":
            raise self._lost(part)
        self._sealed = not opened
        self._opened = True
        if self._sealed or not part:
            return
        before_publish(part)
        self._emitter.turns.enter(part, self._group)
        after_publish(part)
        entities.emitted(self._events)
        self._events.clear()
        self._entered += len(part)

    def _call(self, operation: list[Any], part: list[Message] | None = None) -> Any:
        try:
            return self._emitter.turns.admission.call(operation)
        except redis.RedisError as error:
            raise EmitError(
                f"the coordination Redis did not answer: {error}", unsent=[message.delivery for message in part or ()]
            ) from error

    def _lost(self, part: Iterable[Message] = ()) -> EmitError:
        self._opened = False  # there is nothing to abandon
        return EmitError(
            f"the coordination Redis was emptied: of {self._entered} deliveries that had entered the group "
            f"{self._group}, those that had not begun are lost",
            unsent=[message.delivery for message in part],
        )

    def _abandon(self, error: BaseException) -> None:
        """Say that no more will come. What has entered will run."""
        error.add_note(f"the group {self._group} is abandoned: {self._entered} deliveries have entered it and will run")
        try:
            self._emitter.turns.admission.call(["open", self._group, self._max, 0, self._fields, self._entered])
        except redis.RedisError:
            pass  # its lease will end
