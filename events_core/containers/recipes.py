"""How the default container makes one thing: what it calls, and what that needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from events_core.needs import DependencyError, name_of, needs_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """make: called with what `needs` names; if it is a factory, it may give an awaitable or a context manager too.

    wanted: what it makes. alias: another type, whose instance it is.
    """

    wanted: Any
    make: Callable[..., Any]
    needs: tuple[tuple[str, Any], ...] = ()
    alias: Any = None
    is_factory: bool = False


def of_factory(wanted: Any, factory: Callable[..., Any]) -> Recipe:
    """What `register(wanted, factory)` means. Raises DependencyError for a parameter without a usable annotation."""
    if inspect.isclass(factory) and factory is not wanted:
        return Recipe(wanted, factory, alias=factory)
    return Recipe(wanted, _as_manager(factory), _needs(factory), is_factory=factory is not wanted)


def of_class(wanted: Any) -> Recipe:
    """How a class that nobody registered is made: from its constructor's annotations.

    Raises DependencyError for what is no class that can be made so. A class whose arguments all have defaults is made
    if it is a handler's: others, such as a database session, may be useless with those.
    """
    problem = _why_not(wanted)
    if problem:
        raise DependencyError(problem, [name_of(wanted)])
    needs = _needs(wanted)
    if not needs and not is_handler(wanted) and inspect.signature(wanted).parameters:
        name = name_of(wanted)
        raise DependencyError(
            f"nothing makes a {name}, and its arguments all have defaults; register({name}, {name}) if those are "
            f"right, else register({name}, ...) with a function that makes one",
            [name],
        )
    return Recipe(wanted, wanted, needs)


def is_handler(wanted: Any) -> bool:
    """Whether it is a class of handlers, which nobody needs to register."""
    return inspect.isclass(wanted) and callable(getattr(wanted, "handle", None))


def bare(wanted: Any) -> Any:
    """The type in an Annotated[type, ...]."""
    return get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted


def _why_not(wanted: Any) -> str:
    name = name_of(wanted)
    register = f"nothing makes a {name}; register({name}, ...) with a class or function that does"
    if not inspect.isclass(wanted) or wanted.__module__ == "builtins":
        return f"the type {name} does not tell which one is wanted; give it a type of its own, and register that"
    if getattr(wanted, "_is_protocol", False) or inspect.isabstract(wanted):
        return register
    try:
        inspect.signature(wanted)
    except (TypeError, ValueError):
        return register
    return ""


def _needs(called: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    try:
        return needs_of(called)
    except (TypeError, ValueError):
        return ()  # a builtin that tells nothing of its arguments: called without any


def _as_manager(factory: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function as one of context managers; anything else as it is."""
    called = (factory, getattr(factory, "__call__", None))  # noqa: B004 - an object may have a generator for it
    if any(inspect.isasyncgenfunction(function) for function in called):
        return asynccontextmanager(factory)
    if any(inspect.isgeneratorfunction(function) for function in called):
        return contextmanager(factory)
    return factory
