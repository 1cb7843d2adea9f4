"""Collecting the events of one call, and giving them up only when they are safe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from events_core.entities import not_emitted
from events_core.events import Event
from events_core.mediator.call_events import CallEvents, begin_call, end_call
from events_core.mediator.own_lists import OwnList
from events_core.mediator.requests import RequestHandler, belongs_to_a_mediator


class Collecting:
    """In the block a request is handled; what is collected in it belongs to this call, and is dropped if it fails."""

    def __init__(self) -> None:
        #: What is added to the list of the call: by handlers that have none of their own, and by what they return.
        self.of_call = CallEvents()
        self._own: OwnList | None = None
        self._collected: tuple[Event, ...] = ()

    def of(self, handler: Any) -> None:
        """This is the handler. Raises HandlerInUse."""
        if getattr(type(handler), "events", None) is RequestHandler.events:
            belongs_to_a_mediator(handler)
        else:
            self._own = OwnList.of(handler)

    def __enter__(self) -> Self:
        self._token = begin_call(self.of_call)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        end_call(self._token)
        ended = True
        try:
            events = self._events()
            if kind is None:
                self._collected, ended = events, False
            else:
                self._drop(events)
        finally:
            self.of_call.ended = True
            if ended:
                self._end()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """The handler runs in this block; if it fails, what it has collected in it is dropped.

        Middleware may let it run again, or answer in its place.
        """
        before = {id(event) for event in self._events()}
        try:
            yield
        except BaseException:
            self._drop([event for event in self._events() if id(event) not in before])
            raise

    @contextmanager
    def settling(self) -> Iterator[tuple[Event, ...]]:
        """What was collected, first in, first out, to be emitted in this block.

        If that fails, the handler's own list keeps it, and entities have it again.
        """
        try:
            yield self._collected  # entities are told by the emitter, which may hold them back for longer
            if self._own is not None:
                self._own.remove(self._collected)
        except asyncio.CancelledError:  # which withdraws nothing
            raise
        except BaseException:
            not_emitted(self._collected)
            raise
        finally:
            self._end()

    def _events(self) -> tuple[Event, ...]:
        return (*([] if self._own is None else self._own.events()), *self.of_call)

    def _drop(self, events: Iterable[Event]) -> None:
        events = list(events)
        not_emitted(events)  # the entities that they were collected from have them again
        gone = {id(event) for event in events}
        self.of_call[:] = [event for event in self.of_call if id(event) not in gone]
        if self._own is not None:
            self._own.remove(events)

    def _end(self) -> None:
        if self._own is not None:
            self._own.end()
