"""What is being handled in this context, so that emit inside a handler can wait for its success."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from events_core.envelope import Envelope
from events_core.ids import DerivedIds, derived_ids

if TYPE_CHECKING:
    from events_core.hold import Fate
    from events_core.publishing.messages import Carried


@dataclass(slots=True)
class HandlingScope:
    """One run of a delivery: the event that causes what is emitted in it, and what is held back until it is done.

    chain: the types of the events that led here, for the dead letter of a chain that never ends.
    fence: the fence token of what it holds, where it is limited. traceparent: W3C trace context of the delivery.
    """

    delivery_id: str
    root_id: str
    cause: Envelope
    chain: str
    fence: int | None = None
    traceparent: str | None = None
    #: The run is over. What outlives it (a task it started) emits at once, with this cause, but ids of its own.
    closed: bool = False
    held: list[Carried] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)


_current: ContextVar[HandlingScope | None] = ContextVar("events_handling", default=None)


def current_scope() -> HandlingScope | None:
    """The delivery that this code runs for, if any."""
    return _current.get()


def fence_token() -> int | None:
    """In a limited handler: the fence token of its permit. None where nothing is limited.

    Whoever is granted the same limit later has a larger one. A lease cannot stop a process that stands still and wakes
    up after it: let what the handler writes to refuse a token smaller than one it has seen.
    """
    scope = _current.get()
    return None if scope is None else scope.fence


class handling:
    """Within the block, emit is held back in `scope` and event ids derive from the delivery."""

    __slots__ = ("_ids", "_ids_token", "_scope", "_scope_token")

    def __init__(self, scope: HandlingScope, ids: DerivedIds) -> None:
        self._scope = scope
        self._ids = ids

    def __enter__(self) -> HandlingScope:
        self._scope_token = _current.set(self._scope)
        self._ids_token = derived_ids.set(self._ids)
        return self._scope

    def __exit__(self, *_: object) -> None:
        self._scope.closed = self._ids.closed = True
        derived_ids.reset(self._ids_token)
        _current.reset(self._scope_token)
