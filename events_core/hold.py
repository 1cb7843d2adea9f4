"""hold: what is emitted in a block goes out when the block has ended cleanly, in one batch, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from events_core.entities import not_emitted
from events_core.events import Event
from events_core.publishing.messages import Carried

if TYPE_CHECKING:
    from typing import Self


class Sends(Protocol):
    """What is needed of an emitter."""

    def send(self, messages: Sequence[Carried], events: Sequence[Event]) -> None: ...

    async def asend(self, messages: Sequence[Carried], events: Sequence[Event]) -> None: ...

    def send_later(self, messages: Sequence[Carried], events: Sequence[Event]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sending:
    """What an emit would send now, for who calls it later. events: those that it stands for."""

    emitter: Sends
    messages: Sequence[Carried] = field(repr=False)
    events: Sequence[Event] = field(repr=False)

    def __call__(self) -> None:
        """Send it; return when the brokers have confirmed it. Raises EmitError."""
        self.emitter.send(self.messages, self.events)


#: Whether it has taken the emission, which it will call later. With None it only tells whether it would take one.
DeliverLater = Callable[[Sending | None], bool]


@dataclass(slots=True)
class Held:
    """What is held back in one context, for one emitter. outer: for others, around it."""

    emitter: Sends
    outer: Held | None
    messages: list[Carried] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    #: The block has ended. What outlives it (a task it started) emits at once.
    closed: bool = False


_current: ContextVar[Held | None] = ContextVar("events_hold", default=None)


def held_by(emitter: Sends) -> Held | None:
    """What this context holds back for the emitter; None where it holds nothing back."""
    held = _current.get()
    while held is not None and (held.emitter is not emitter or held.closed):
        held = held.outer
    return held


class Hold:
    """``with`` or ``async with``: see `EventSystem.hold`. Not to be used twice at once."""

    def __init__(self, emitter: Sends) -> None:
        self._emitter = emitter
        self._held: Held | None = None
        self._token: Token[Held | None] | None = None

    def _begin(self) -> None:
        if held_by(self._emitter) is None:  # else the block around this one sends
            self._held = Held(self._emitter, _current.get())
            self._token = _current.set(self._held)

    def _end(self, *, failed: bool) -> Held | None:
        """What is to be sent."""
        held, token = self._held, self._token
        self._held = self._token = None
        if held is None or token is None:
            return None
        held.closed = True
        try:
            _current.reset(token)
        except ValueError:
            pass  # another context ends it: closed it is all the same
        if failed:
            not_emitted(held.events)
            return None
        return held

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        held = self._end(failed=kind is not None)
        if held is not None and not self._emitter.send_later(held.messages, held.events):
            self._emitter.send(held.messages, held.events)

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        held = self._end(failed=kind is not None)
        if held is not None and not self._emitter.send_later(held.messages, held.events):
            await self._emitter.asend(held.messages, held.events)
