"""Handlers with ``in_transaction=True``: they run during emit, in the caller's thread and transaction."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from events_core.containers import AnyContainer
from events_core.containers.resolving import aresolving, resolving
from events_core.envelope import Envelope
from events_core.errors import EmitMisused
from events_core.events import Event
from events_core.handlers import HandlerSpec, returned_events
from events_core.publishing.messages import Carried

#: Makes the instances of such handlers in this context, as a dispatcher does for its transaction. Default: the
#: system's container.
instances: ContextVar[Callable[[type[Any]], Any] | None] = ContextVar("events_instances", default=None)


@dataclass(slots=True)
class Joined:
    """An emission whose in-transaction handlers run: what they emit joins it, first in, first out."""

    emitter: object
    waiting: deque[tuple[Event, Envelope | None]] = field(default_factory=deque)
    messages: list[Carried] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    #: The envelope of the event whose handler runs: the cause of what that emits.
    cause: Envelope | None = None
    closed: bool = False


_joined: ContextVar[Joined | None] = ContextVar("events_joined", default=None)


def joined_by(emitter: object) -> Joined | None:
    """The emission that an emit in this context joins, if any."""
    joined = _joined.get()
    return joined if joined is not None and joined.emitter is emitter and not joined.closed else None


@contextmanager
def joining(joined: Joined) -> Iterator[None]:
    """In the block, what is emitted joins the emission."""
    token = _joined.set(joined)
    try:
        yield
    finally:
        joined.closed = True
        _joined.reset(token)


def check_hops(cause: Envelope, max_hops: int) -> None:
    """Raise EmitMisused for events that follow from one another without end."""
    if cause.hops > max_hops:
        raise EmitMisused(
            f"{cause.type}: {cause.hops} events followed from one another in one transaction, more than MAX_HOPS "
            f"({max_hops}): break the circle where an event says no news"
        )


def call(spec: HandlerSpec, event: Event, container: AnyContainer | None) -> list[Event]:
    """Run the handler; the events that it returned. Raises what it raised, EmitMisused for an async one."""
    if spec.is_async:
        raise _is_async(spec)
    with resolving(container, lambda make: _refuse(spec)) as resolve:
        returned = _callable(spec, resolve)(event, **{name: resolve(wanted) for name, wanted in spec.needs})
        if inspect.isawaitable(returned):
            getattr(returned, "close", lambda: None)()
            raise _is_async(spec)
        return returned_events(returned, spec.name) or []


async def acall(spec: HandlerSpec, event: Event, container: AnyContainer | None) -> list[Event]:
    """As `call`, on the caller's loop: a sync handler blocks it, for it shares the caller's transaction."""
    async with aresolving(container) as resolve:
        own = instances.get()
        target = spec.target
        if spec.kind == "class":
            instance = await resolve(spec.target) if own is None else own(spec.target)
            target = (await instance if inspect.isawaitable(instance) else instance).handle
        returned = target(event, **{name: await resolve(wanted) for name, wanted in spec.needs})
        if inspect.isawaitable(returned):
            returned = await returned
        return returned_events(returned, spec.name) or []


def _callable(spec: HandlerSpec, resolve: Callable[[Any], Any]) -> Callable[..., Any]:
    if spec.kind != "class":
        return spec.target  # type: ignore[no-any-return]
    own = instances.get()
    instance = resolve(spec.target) if own is None else own(spec.target)
    if inspect.isawaitable(instance):
        getattr(instance, "close", lambda: None)()
        _refuse(spec)
    return instance.handle  # type: ignore[no-any-return]


def _is_async(spec: HandlerSpec) -> EmitMisused:
    return EmitMisused(
        f"{spec.name} is async and runs in the caller's transaction: emit the event with await aemit(...)"
    )


def _refuse(spec: HandlerSpec) -> Any:
    raise EmitMisused(
        f"{spec.name} runs in the caller's transaction, and its container is async: emit the event with await "
        "aemit(...)"
    )
