"""Handlers: what may be one, how it is named, and everything known of it."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from events_core.errors import BindError
from events_core.events import Event
from events_core.policies import Retry

E_contra = TypeVar("E_contra", bound=Event, contravariant=True)

#: What a handler may return: events that follow, or nothing.
Returned = Event | Iterable[Event] | None
HandlerFunction = Callable[[Any], Returned | Awaitable[Returned]]
Kind = Literal["function", "class", "task"]

#: The policy of a handler bound without `retry`. By identity it is told from a Retry() that was given.
DEFAULT_RETRY = Retry()


class EventHandler(ABC, Generic[E_contra]):
    """A handler with injected constructor arguments. One instance is made for each delivery."""

    @abstractmethod
    def handle(self, event: E_contra) -> Any:
        """Do what must follow from the event. May be ``async def``; returned events are emitted as follow-ups."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """One handler as bound.

    name: the name of its Celery task. target: function, class or Celery task. queue: None is the system's default.
    retry: None is no retry. timeout: seconds one run may take. aliases: names it had before.
    args: for a Celery task, what it is called with.
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


def inspect_handler(
    target: Any,
    *,
    name: str | None = None,
    queue: str | None = None,
    retry: Retry | None = DEFAULT_RETRY,
    timeout: float | None = None,
    aliases: Iterable[str] = (),
    args: Callable[[Any], tuple[Any, ...]] | None = None,
) -> HandlerSpec:
    """Everything known of `target` as a handler; raises BindError where it cannot be one."""
    kind = _kind_of(target)
    if args is not None and kind != "task":
        raise BindError(f"{target!r}: args= belongs to an existing Celery task (task=...); a handler gets the event")
    if kind == "task":
        _check_task_options(target, name=name, retry=retry, timeout=timeout, aliases=aliases)
    called = _called(target, kind)
    own_name = name or (target.name if kind == "task" else _importable_name(target))
    if kind != "task":
        _check_signature(called, own_name, method=kind == "class")
    _check_options(own_name, retry, timeout, queue)
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
    )


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


def _check_signature(called: Any, name: str, *, method: bool) -> None:
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise BindError(f"{name} is a generator: it would never run. Return a list of follow-up events instead")
    try:
        signature = inspect.signature(called)
        signature.bind(*([None, None] if method else [None]))
    except (TypeError, ValueError):
        wanted = "handle(self, event)" if method else "one parameter, the event"
        raise BindError(f"{name}{inspect.signature(called)}: a handler takes {wanted}") from None


def _check_task_options(task: Any, *, name: Any, retry: Any, timeout: Any, aliases: Any) -> None:
    given = {
        "name": name is not None,
        "retry": retry is not DEFAULT_RETRY,
        "timeout": timeout is not None,
        "aliases": bool(aliases),
    }
    if any(given.values()):
        names = ", ".join(f"{option}=" for option, is_given in given.items() if is_given)
        raise BindError(
            f"{names} would do nothing for {task.name}: it is a Celery task, and runs with its own name, retries and "
            "limits. Set them on the task (@app.task(...)), or bind a plain function instead"
        )


def _check_options(name: str, retry: Any, timeout: Any, queue: Any) -> None:
    if not name or any(character.isspace() for character in name):
        raise BindError(f"handler name {name!r} is empty or has blanks")
    if retry is not None and not isinstance(retry, Retry):
        raise BindError(f"{name}: retry={retry!r} must be a Retry(...) or None")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
        raise BindError(f"{name}: timeout={timeout!r} must be a number of seconds above 0")
    if queue is not None and (not isinstance(queue, str) or not queue):
        raise BindError(f"{name}: queue={queue!r} must be the name of a queue")
