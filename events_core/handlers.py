"""Handlers: what may be one, how it is named, and everything known of it."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from events_core.errors import BindError, NotAnEvent
from events_core.events import Event
from events_core.handler_options import (
    DEFAULT_RETRY,
    FallbackOn,
    check_fallback,
    check_gates,
    check_options,
    check_task_options,
    limits_of,
)
from events_core.needs import needs_of
from events_core.policies import Breaker, Key, Limit, OnDead, Rate, Retry
from events_core.signatures import check_signature

E_contra = TypeVar("E_contra", bound=Event, contravariant=True)

#: What a handler may return: events that follow, or nothing.
Returned = Event | Iterable[Event] | None
HandlerFunction = Callable[[Any], Returned | Awaitable[Returned]]
Kind = Literal["function", "class", "task"]


class EventHandler(ABC, Generic[E_contra]):
    """A handler with injected constructor arguments. One instance is made for each delivery."""

    @abstractmethod
    def handle(self, event: E_contra) -> Any:
        """Do what must follow from the event. May be ``async def``; returned events are emitted as follow-ups."""


def returned_events(returned: Any, handler: str) -> list[Event] | None:
    """The events that a handler returned: one, several, or none; None where it returned something else.

    Raises NotAnEvent for events among something else.
    """
    many = isinstance(returned, Iterable) and not isinstance(returned, str | bytes | Event)
    items = [] if returned is None else list(returned) if many else [returned]
    events = [item for item in items if isinstance(item, Event)]
    if events and len(events) < len(items):
        raise NotAnEvent(f"{handler} returned events mixed with something else: return events only")
    return events if events or not items else None


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """One handler as bound.

    name: the name of its Celery task. target: function, class or Celery task. queue: None is the system's default.
    retry: None is no retry. timeout: seconds one run may take. aliases: names it had before.
    args: for a Celery task, what it is called with.
    limits: what each delivery must be let pass by, beside the breaker. ordered_by: the key of which the deliveries run
    one at a time, in order. on_dead: what becomes of those behind a dead one. fallback: what runs in its place, when
    fallback_on says; it has no retries and no gates of its own. latest_only: of an entity, newer versions only.
    in_transaction: runs while the event is emitted, where it is emitted, and is no delivery.
    """

    name: str
    target: Any
    kind: Kind
    is_async: bool
    queue: str | None = None
    retry: Retry | None = DEFAULT_RETRY
    timeout: float | None = None
    aliases: tuple[str, ...] = ()
    args: Callable[[Any], tuple[Any, ...]] | None = field(default=None, compare=False)
    limits: tuple[Limit | Rate, ...] = ()
    breaker: Breaker | None = None
    ordered_by: Key | None = None
    on_dead: OnDead = "continue"
    fallback: HandlerSpec | None = None
    fallback_on: FallbackOn = "exhausted"
    latest_only: bool = False
    in_transaction: bool = False
    #: Of a function: the parameters beside the event that must be given, by a container.
    parameters: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[tuple[str, Any], ...]:
        """Name and type of each of those. Raises DependencyError where a type cannot be told."""
        return needs_of(self.target, skip=1) if self.parameters else ()


def inspect_handler(
    target: Any,
    *,
    name: str | None = None,
    queue: str | None = None,
    retry: Retry | None = DEFAULT_RETRY,
    timeout: float | None = None,
    aliases: Iterable[str] = (),
    args: Callable[[Any], tuple[Any, ...]] | None = None,
    limit: Limit | Rate | Sequence[Limit | Rate] | None = None,
    breaker: Breaker | None = None,
    ordered_by: Key | None = None,
    on_dead: OnDead = "continue",
    fallback: Any = None,
    fallback_on: FallbackOn = "exhausted",
    in_transaction: bool = False,
) -> HandlerSpec:
    """Everything known of `target` as a handler; raises BindError where it cannot be one."""
    kind = _kind_of(target)
    given = {
        "queue": queue is not None,
        "args": args is not None,
        "retry": retry is not DEFAULT_RETRY,
        "timeout": timeout is not None,
        "aliases": bool(aliases),
        "limit": limit is not None,
        "breaker": breaker is not None,
        "ordered_by": ordered_by is not None,
        "on_dead": on_dead != "continue",
        "fallback": fallback is not None,
        "fallback_on": fallback_on != "exhausted",
    }
    if in_transaction:
        _check_in_transaction(target, kind, given)
    if args is not None and kind != "task":
        raise BindError(f"{target!r}: args= belongs to an existing Celery task (task=...); a handler gets the event")
    if kind == "task":
        task_has = {"name": name is not None} | given | {"queue": False, "args": False}
        check_task_options(target.name, task_has)
    called = _called(target, kind)
    own_name = name or (target.name if kind == "task" else _importable_name(target))
    parameters = () if kind == "task" else check_signature(called, own_name, method=kind == "class")
    check_options(own_name, retry, timeout, queue)
    check_gates(own_name, breaker, ordered_by, on_dead)
    check_fallback(own_name, fallback, fallback_on, breaker)
    return HandlerSpec(
        name=own_name,
        target=target,
        kind=kind,
        is_async=inspect.iscoroutinefunction(called),
        queue=queue,
        retry=retry,
        timeout=timeout,
        aliases=tuple([aliases] if isinstance(aliases, str) else aliases),
        args=args,
        limits=limits_of(own_name, limit),
        breaker=breaker,
        ordered_by=ordered_by,
        on_dead=on_dead,
        fallback=None if fallback is None else _inspect_fallback(fallback, own_name, timeout),
        fallback_on=fallback_on,
        in_transaction=in_transaction,
        parameters=parameters,
    )


def _check_in_transaction(target: Any, kind: Kind, given: dict[str, bool]) -> None:
    if kind == "task":
        raise BindError(
            f"{target.name} is a Celery task, and those run in a worker: in_transaction=True runs a function or class "
            "where the event is emitted. Bind one of these, or leave in_transaction out"
        )
    names = ", ".join(f"{option}=" for option, is_given in given.items() if is_given)
    if names:
        raise BindError(
            f"{names} would do nothing for {getattr(target, '__qualname__', target)!s}: with in_transaction=True it "
            "runs in the caller's transaction, once, and no worker has it. Remove them, or in_transaction"
        )


def _inspect_fallback(target: Any, handler: str, timeout: float | None) -> HandlerSpec:
    # It is reached through its handler, never by its name: so that it may be a lambda, or a handler's function too.
    kind = _kind_of(target)
    if kind == "task":
        raise BindError(f"{handler}: fallback={target.name} is a Celery task: give a function or class that calls it")
    try:
        called = _called(target, kind)
        name = f"{real_module_name(target.__module__)}.{target.__qualname__}"
        parameters = check_signature(called, name, method=kind == "class")
    except BindError as error:
        raise BindError(f"{handler}: its fallback cannot run: {error}") from None
    is_async = inspect.iscoroutinefunction(called)
    return HandlerSpec(name, target, kind, is_async, retry=None, timeout=timeout, parameters=parameters)


def accepted_event(target: Any) -> type[Event] | None:
    """The event class in the annotation of the handler's parameter, where it can be told."""
    called = _called(target, _kind_of(target))
    parameters = [p for p in inspect.signature(called).parameters.values() if p.name != "self"]
    if not parameters:
        return None
    try:
        hint = typing.get_type_hints(called).get(parameters[0].name)
    except (NameError, TypeError, AttributeError):
        return None  # an annotation that cannot be resolved here says nothing
    return hint if isinstance(hint, type) and issubclass(hint, Event) else None


def real_module_name(module: str) -> str:
    """`module`, with ``__main__`` resolved to the name it is imported under, so that workers find it."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else module


def _kind_of(target: Any) -> Kind:
    if inspect.isclass(target):
        return "class"
    if hasattr(target, "apply_async") and hasattr(target, "name"):  # a Celery task; this module knows no Celery
        return "task"
    return "function"


def _called(target: Any, kind: Kind) -> Any:
    if kind == "task":
        return target.run
    if kind == "class":
        handle = getattr(target, "handle", None)
        if not callable(handle) or getattr(handle, "__isabstractmethod__", False):
            raise BindError(f"{target.__qualname__} has no method handle(self, event): add it")
        return handle
    if isinstance(target, functools.partial) or not callable(target) or not hasattr(target, "__qualname__"):
        raise BindError(f"{target!r} cannot be a handler: bind a function or a class with handle(self, event)")
    return target


def _importable_name(target: Any) -> str:
    qualname = target.__qualname__
    if "<lambda>" in qualname or "<locals>" in qualname:
        raise BindError(
            f"{target.__module__}.{qualname} cannot be imported by a worker: define it at module level, "
            "or give it a lasting name with name="
        )
    return f"{real_module_name(target.__module__)}.{qualname}"
