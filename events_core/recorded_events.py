"""The events that entities have recorded: pending, or handed out and not yet safe.

They are kept beside the entities, by id(), since an entity may be unhashable, frozen or without ``__dict__``.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from events_core.events import Event
from events_core.forking import call_in_child

#: Where in an entity's __dict__ its buffer is, while `RecordedEvents._keep` puts it there.
_PLACE = "_events_recorded"


class RecordedEvents:
    """The events of all entities. carrying: whether events of a class hold an entity themselves."""

    def __init__(self, carrying: Callable[[type[Event]], object]) -> None:
        self._carrying = carrying
        self._buffers: weakref.WeakValueDictionary[int, _Buffer] = weakref.WeakValueDictionary()
        #: The same buffers, kept until their entity dies; but see `_keep`.
        self._owned: dict[int, _Buffer] = {}
        #: By id() of the event. The entry goes with the event, and keeps nothing alive.
        self.handed_out: dict[int, tuple[weakref.ref[Event], list[_HandedOut]]] = {}
        self._numbers = count()
        self._new_lock()
        call_in_child(self._new_lock)

    def _new_lock(self) -> None:
        # Reentrant: within it the garbage collector may run a __del__ that records an event.
        self._lock = threading.RLock()

    def add(self, entity: Any, event: Event) -> None:
        """Record it, behind the others of the entity."""
        with self._lock:
            buffer = self._find(entity) or self._new(entity)
            buffer.pending[next(self._numbers)] = event
            if self._carrying(type(event)):
                self._keep(buffer)

    def pending(self, entity: Any) -> tuple[Event, ...]:
        """What the entity has recorded, in order."""
        with self._lock:
            buffer = self._find(entity)
            return () if buffer is None else tuple(buffer.pending.values())

    def hand_out(self, entity: Any) -> list[Event]:
        """Take it from the entity, which may get it back."""
        with self._lock:
            buffer = self._find(entity)
            if buffer is None or not buffer.pending:
                return []
            taken = buffer.pending
            self._replace(buffer, {})
            handed_out = _HandedOut(buffer, taken)
            for event in taken.values():
                self._remember(event, handed_out)
            return list(taken.values())

    def discard(self, entity: Any, events: Iterable[Event]) -> None:
        """Forget these of one entity."""
        with self._lock:
            buffer = self._find(entity)
            if buffer is not None:
                gone = list(events)
                self._forget(gone, [entry for entry in self._entries(gone) if entry.buffer() is buffer], [buffer])

    def settle(self, events: Iterable[Event]) -> None:
        """Forget these, where they were handed out."""
        with self._lock:
            gone = list(events)
            entries = self._entries(gone)
            self._forget(gone, entries, [buffer for entry in entries if (buffer := entry.buffer()) is not None])
            for event in gone:
                self.handed_out.pop(id(event), None)

    def give_back(self, events: Iterable[Event]) -> None:
        """Let entities have them again, with what they have handed out together with them."""
        with self._lock:
            for entry in self._entries(events):
                if (buffer := entry.buffer()) is not None:
                    self._replace(buffer, dict(sorted({**buffer.pending, **entry.alive()}.items())))

    def _find(self, entity: Any) -> _Buffer | None:
        buffer = self._buffers.get(id(entity))
        return None if buffer is None or buffer.entity() is not entity else buffer

    def _new(self, entity: Any) -> _Buffer:
        owned, key = self._owned, id(entity)
        buffer = _Buffer(weakref.ref(entity, lambda _: owned.pop(key, None) and None))
        self._buffers[key] = owned[key] = buffer
        return buffer

    def _entries(self, events: Iterable[Event]) -> list[_HandedOut]:
        found = [entry for event in events for entry in self.handed_out.get(id(event), (None, ()))[1]]
        return list({id(entry): entry for entry in found}.values())

    def _remember(self, event: Event, handed_out: _HandedOut) -> None:
        known, key = self.handed_out, id(event)
        if key not in known:
            known[key] = (weakref.ref(event, lambda _: known.pop(key, None) and None), [])
        entries = known[key][1]
        entries[:] = [entry for entry in entries if entry.buffer() is not handed_out.buffer()] + [handed_out]

    def _forget(self, events: list[Event], entries: list[_HandedOut], buffers: list[_Buffer]) -> None:
        gone = {id(event) for event in events}
        for entry in entries:
            entry.remove(gone)
        for buffer in buffers:
            self._replace(buffer, {n: event for n, event in buffer.pending.items() if id(event) not in gone})

    def _replace(self, buffer: _Buffer, pending: dict[int, Event]) -> None:
        buffer.pending = pending
        self._keep(buffer)

    def _keep(self, buffer: _Buffer) -> None:
        """Decide what keeps the buffer alive: we do, as long as its entity lives.

        But an event that holds its entity, kept by us, would keep it for ever. While one is pending the entity keeps
        the buffer itself, in its __dict__, where it has one, and the garbage collector sees the circle.
        """
        entity = buffer.entity()
        if entity is None:
            return
        place = getattr(entity, "__dict__", None)
        if place is not None and any(self._carrying(type(event)) for event in buffer.pending.values()):
            place[_PLACE] = buffer
            self._owned.pop(id(entity), None)
        else:
            self._owned[id(entity)] = buffer
            if place is not None:
                place.pop(_PLACE, None)


class _Buffer:
    """The pending events of one entity, by the number that tells their order."""

    __slots__ = ("__weakref__", "entity", "pending")

    def __init__(self, entity: weakref.ref[Any]) -> None:
        self.entity = entity
        self.pending: dict[int, Event] = {}

    def __deepcopy__(self, memo: Any) -> None:
        """A copied entity has no events."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # nor has an unpickled one


class _HandedOut:
    """What one call has collected. Weak: what is dropped without being emitted is gone."""

    __slots__ = ("_numbers", "buffer", "events")

    def __init__(self, buffer: _Buffer, events: dict[int, Event]) -> None:
        self.buffer = weakref.ref(buffer)
        self.events = {number: weakref.ref(event) for number, event in events.items()}
        self._numbers: dict[int, list[int]] = {}
        for number, event in events.items():
            self._numbers.setdefault(id(event), []).append(number)

    def remove(self, gone: set[int]) -> None:
        for key in gone:  # should one be the id of an event that is dead here, nothing is lost
            for number in self._numbers.pop(key, ()):
                self.events.pop(number, None)

    def alive(self) -> dict[int, Event]:
        return {number: event for number, ref in self.events.items() if (event := ref()) is not None}
