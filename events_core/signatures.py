"""What may be called with an event, and what it may ask for beside it."""

from __future__ import annotations

import inspect
from typing import Any

from events_core.errors import BindError
from events_core.events import Event
from events_core.needs import DependencyError, needs_of, required


def check_signature(called: Any, name: str, *, method: bool) -> tuple[str, ...]:
    """The names of the parameters that a container must give beside the event.

    called: the function, or a class's `handle` (method). name: for the message. Raises BindError for what cannot be
    called with an event, or asks for what nobody could tell.
    """
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise BindError(f"{name} is a generator: it would never run. Return a list of follow-up events instead")
    try:
        signature = inspect.signature(called)
        bound = signature.bind_partial(*([None, None] if method else [None]))
    except (TypeError, ValueError):
        raise _wrong_signature(called, name, method) from None
    more = required([p for p in signature.parameters.values() if p.name not in bound.arguments])
    if more and method:
        names = ", ".join(parameter.name for parameter in more)
        raise BindError(
            f"{name}{signature}: handle takes the event only: ask for {names} in the constructor, "
            f"def __init__(self, {names})"
        )
    for parameter in more:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise BindError(f"{name}{signature}: {parameter.name} is given by name: move it behind the /")
        if parameter.annotation is parameter.empty:
            raise BindError(
                f"{name}{signature}: a handler takes one parameter, the event, and others that a container gives by "
                f"their annotation: annotate {parameter.name} with a type, or give it a default"
            )
    if more:
        _check_needs(called, f"{name}{signature}")
    return tuple(parameter.name for parameter in more)


def _check_needs(called: Any, shown: str) -> None:
    try:
        needs = needs_of(called, skip=1)
    except DependencyError:
        return  # a type that is defined further down the module; `events check` tells it if it is not
    for parameter, wanted in needs:
        if isinstance(wanted, type) and issubclass(wanted, Event):
            raise BindError(
                f"{shown}: a handler takes one parameter, the event, and {parameter} is one too: bind a handler to "
                "each of them"
            )


def _wrong_signature(called: Any, name: str, method: bool) -> BindError:
    wanted = "handle(self, event)" if method else "one parameter, the event, before all others"
    return BindError(f"{name}{inspect.signature(called)}: a handler takes {wanted}")
