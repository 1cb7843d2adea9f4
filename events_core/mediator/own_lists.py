"""Handlers that collect events in a list of their own, as those of diator and python-cqrs do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from events_core.errors import HandlerInUse
from events_core.events import Event
from events_core.mediator.requests import RequestHandler

#: By what each such handler, and its list, is used; by their id().
_in_use: dict[int, OwnList] = {}


class OwnList:
    """What one call adds to the list of its handler.

    Such a list belongs to the instance (or to its class), and not to the call: of two requests at once nobody could
    tell whose an event is. Raises HandlerInUse where the instance, or the list, serves another request.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        own = handler.events
        # kept, so that their ids stay theirs; a tuple may be shared, as the empty one is, and nobody adds to it
        self._used = [handler, own] if isinstance(own, list) else [handler]
        self._before = list(own)
        for number, thing in enumerate(self._used):
            if _in_use.setdefault(id(thing), self) is not self:
                self._release(self._used[:number])
                name = type(handler).__qualname__
                raise HandlerInUse(
                    f"one instance of {name} was given two requests at once, and its own list of events cannot tell "
                    "them apart: let the container make one for each request, with a list for each instance, or "
                    f"remove the property events from {name} and append to self.events of RequestHandler"
                )

    @classmethod
    def of(cls, handler: Any) -> OwnList | None:
        """That of a handler which overrides ``events``, or is no RequestHandler and has such; None of all others."""
        has_one = isinstance(handler, RequestHandler) or isinstance(getattr(handler, "events", None), list | tuple)
        return cls(handler) if has_one else None

    def events(self) -> list[Event]:
        """What was added since; also where the handler has made itself another list."""
        before = {id(event) for event in self._before}
        return [event for event in self._handler.events if id(event) not in before]

    def remove(self, events: Iterable[Event]) -> None:
        """Take these out of the list. Where it cannot be changed, no later call takes them."""
        gone = {id(event) for event in events}
        own = self._handler.events
        if isinstance(own, list):
            own[:] = [event for event in own if id(event) not in gone]

    def end(self) -> None:
        """The call has ended."""
        self._release(self._used)

    @staticmethod
    def _release(used: list[Any]) -> None:
        for thing in used:
            _in_use.pop(id(thing), None)
