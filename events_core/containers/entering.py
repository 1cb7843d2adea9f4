"""What a factory gave: the instance itself, an awaitable of it, or a context manager around it."""

from __future__ import annotations

import inspect
from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager
from typing import Any

from events_core.containers.steps import Steps

_GENERATED = (_GeneratorContextManager, _AsyncGeneratorContextManager)


def instance_from(made: Any, wanted: Any, managers: list[tuple[Any, bool]]) -> Steps[Any]:
    """The instance in what a factory of `wanted` gave. managers: takes the context manager that is entered for it.

    An instance of `wanted` is taken as it is, also one that is a context manager of its own: when it is entered is
    its user's business.
    """
    while True:
        if is_manager(made, wanted):
            is_async = hasattr(made, "__aenter__")
            entered = (yield made.__aenter__()) if is_async else made.__enter__()
            managers.append((made, is_async))
            return entered
        if not inspect.isawaitable(made) or is_instance(made, wanted) or is_mock(made):
            return made
        made = yield made


def is_manager(made: Any, wanted: Any) -> bool:
    """Whether it stands around an instance of `wanted`."""
    if isinstance(made, _GENERATED):
        return True
    if not inspect.isclass(wanted) or getattr(wanted, "_is_protocol", False):
        return False  # whether it is an instance of that cannot be told
    if isinstance(made, wanted) or is_mock(made):
        return False
    return hasattr(made, "__aenter__") or hasattr(made, "__enter__")


def is_instance(made: Any, wanted: Any) -> bool:
    """Whether it is certain that it is an instance of `wanted`."""
    try:
        return inspect.isclass(wanted) and isinstance(made, wanted)
    except TypeError:
        return False  # a protocol tells that only if it says so


def is_mock(made: Any) -> bool:
    """Whether it is one of unittest.mock, which can be called, entered and awaited whatever it stands for."""
    return any(base.__module__ == "unittest.mock" for base in type(made).__mro__)
