"""hold: what is emitted in a block goes out when the block has ended cleanly, in one batch, or not at all."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from events_core.entities import not_emitted
from events_core.errors import EmitMisused
from events_core.events import Event
from events_core.publishing.messages import Carried
from events_core.scope import HandlingScope, current_scope

if TYPE_CHECKING:
    from typing import Self


class Sends(Protocol):
    """What is needed of an emitter."""

    def send(self, messages: Sequence[Carried], events: Sequence[Event]) -> None: ...

    async def asend(self, messages: Sequence[Carried], events: Sequence[Event]) -> None: ...

    def keeps(self, messages: Sequence[Carried], events: Sequence[Event]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sending:
    """What an emit would send now, for who calls it later. events: those that it stands for."""

    emitter: Sends
    messages: Sequence[Carried] = field(repr=False)
    events: Sequence[Event] = field(repr=False)

    def __call__(self) -> None:
        """Send it; return when the brokers have confirmed it. Raises EmitError."""
        self.emitter.send(self.messages, self.events)


class Fate:
    """Of what was emitted in a transaction, within a hold block or a handler: whether a rollback has forgotten it."""

    def __init__(self, messages: Sequence[Carried], events: Sequence[Event]) -> None:
        self.messages, self.events = tuple(messages), tuple(events)
        self._committed = False
        self._mark: weakref.ref[_Mark] | None = None

    def watched(self, watch: Callable[[Callable[[], None]], bool]) -> bool:
        """Whether `watch` has taken a callback, which it calls after the commit, and drops with a rollback."""
        mark = _Mark(self.commit)
        self._mark = weakref.ref(mark)
        return watch(mark)

    def commit(self) -> None:
        """It is committed."""
        self._committed = True

    @property
    def rolled_back(self) -> bool:
        """The transaction has dropped it without calling it."""
        return not self._committed and self._mark is not None and self._mark() is None


class _Mark:
    """Waits for the commit. The transaction alone holds it."""

    def __init__(self, commit: Callable[[], None]) -> None:
        self._commit = commit

    def __call__(self) -> None:
        self._commit()


def without_rolled_back(messages: list[Carried], fates: Sequence[Fate]) -> list[Carried]:
    """The messages but for those whose transaction, or savepoint, was rolled back."""
    gone = {id(message) for fate in fates if fate.rolled_back for message in fate.messages}
    return [message for message in messages if id(message) not in gone] if gone else messages


#: Whether it has taken the emission, which it will call later. With None it only tells whether it would take one.
DeliverLater = Callable[[Sending | None], bool]


@dataclass(slots=True)
class Held:
    """What one block holds back, for one emitter. outer: the block around it. scope: the delivery that it is within."""

    emitter: Sends
    outer: Held | None
    scope: HandlingScope | None
    messages: list[Carried] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    #: Of what was emitted within a transaction.
    fates: list[Fate] = field(default_factory=list)
    #: The block has ended. What outlives it (a task it started) emits at once.
    closed: bool = False

    def forget_rolled_back(self) -> None:
        """Leave out what a rollback has withdrawn."""
        gone = [event for fate in self.fates if fate.rolled_back for event in fate.events]
        if not gone:
            return
        self.messages = without_rolled_back(self.messages, self.fates)
        times, left = Counter(map(id, gone)), []
        for event in self.events:  # the same object may have been emitted again after the rollback
            if times[id(event)]:
                times[id(event)] -= 1
            else:
                left.append(event)
        self.events = left
        kept = set(map(id, left))
        not_emitted([event for event in gone if id(event) not in kept])


_current: ContextVar[Held | None] = ContextVar("events_hold", default=None)


def held_by(emitter: Sends) -> Held | None:
    """What this context holds back for the emitter; None where it holds nothing back."""
    held = _current.get()
    while held is not None and (held.emitter is not emitter or held.closed):
        held = held.outer
    scope = current_scope()
    inner = held is not None and scope is not None and not scope.closed and scope is not held.scope
    return None if inner else held  # a delivery that is handled within the block keeps its own


def kept_so_far() -> list[tuple[list[Any], int]]:
    """The lists of the blocks around this context, and how long each is: what comes behind may be forgotten again."""
    found: list[tuple[list[Any], int]] = []
    held = _current.get()
    while held is not None:
        found += [(kept, len(kept)) for kept in (held.messages, held.events, held.fates)]
        held = held.outer
    return found


class Hold:
    """``with`` or ``async with``: see `EventSystem.hold`. Not to be used twice at once."""

    def __init__(self, emitter: Sends) -> None:
        self._emitter = emitter
        self._held: Held | None = None
        self._token: Token[Held | None] | None = None

    def _begin(self) -> None:
        if self._held is not None:
            raise EmitMisused("this hold() is entered already: call hold() for each block, its events are its own")
        self._held = Held(self._emitter, _current.get(), current_scope())
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
        held.forget_rolled_back()
        return held if held.events and not self._emitter.keeps(held.messages, held.events) else None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        held = self._end(failed=kind is not None)
        if held is not None:
            self._emitter.send(held.messages, held.events)

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        held = self._end(failed=kind is not None)
        if held is not None:
            await self._emitter.asend(held.messages, held.events)
