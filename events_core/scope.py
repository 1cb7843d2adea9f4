"""What is being handled in this context, so that emit inside a handler can wait for its success."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from events_core.envelope import Envelope
from events_core.ids import DerivedIds, deriving

if TYPE_CHECKING:
    from events_core.publishing.messages import Message


@dataclass(slots=True)
class HandlingScope:
    """One run of a delivery: the event that causes what is emitted in it, and what is held back until it is done.

    chain: the types of the events that led here, for the dead letter of a chain that never ends.
    """

    delivery_id: str
    root_id: str
    cause: Envelope
    chain: str
    held: list[Message] = field(default_factory=list)


_current: ContextVar[HandlingScope | None] = ContextVar("events_handling", default=None)


def current_scope() -> HandlingScope | None:
    """The delivery that this code runs for, if any."""
    return _current.get()


@contextmanager
def handling(scope: HandlingScope, event_id_source: DerivedIds) -> Iterator[HandlingScope]:
    """Within the block, emit is held back and event ids derive from the delivery."""
    token = _current.set(scope)
    try:
        with deriving(event_id_source):
            yield scope
    finally:
        _current.reset(token)
