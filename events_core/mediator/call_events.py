"""The events of one call of `Mediator.send`, wherever within it they are collected."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any, Self, SupportsIndex

from events_core.errors import EmitMisused
from events_core.events import Event


class CallEvents(list[Event]):
    """The list that a handler appends to. ended: nobody would emit what is added now, and adding it says so."""

    def __init__(self, *, ended: bool = False) -> None:
        super().__init__()
        self.ended = ended

    def append(self, event: Event, /) -> None:
        self._check()
        super().append(event)

    def extend(self, events: Iterable[Event], /) -> None:
        self._check()
        super().extend(events)

    def insert(self, index: SupportsIndex, event: Event, /) -> None:
        self._check()
        super().insert(index, event)

    def __iadd__(self, events: Iterable[Event], /) -> Self:  # type: ignore[misc, override]
        self.extend(events)
        return self

    def _check(self) -> None:
        if self.ended:
            raise EmitMisused(
                "this event would be lost: the request that the handler was given has ended, or this thread does not "
                "carry its context, as those of asyncio.to_thread do. Emit the event with emit(...) instead"
            )


_current: ContextVar[CallEvents | None] = ContextVar("events_of_call", default=None)


def events_of_call() -> CallEvents | None:
    """Those of the innermost call in this context; None outside of any."""
    return _current.get()


def begin_call(events: CallEvents) -> Token[Any]:
    """What is collected in this context from now on belongs to this call."""
    return _current.set(events)


def end_call(token: Token[Any]) -> None:
    """From now on it belongs to the call around this one, if any."""
    _current.reset(token)
