"""What a function or a constructor asks for beside its event: its annotated parameters without a default."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from events_core.errors import ConfigurationError

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_resolved: WeakKeyDictionary[Callable[..., Any], dict[int, tuple[tuple[str, Any], ...]]] = WeakKeyDictionary()


class DependencyError(ConfigurationError):
    """Something that a handler needs cannot be made.

    chain: the names from who asked first to what cannot be made. problem: why, and what to do.
    """

    def __init__(self, problem: str, chain: Iterable[str]) -> None:
        self.problem = problem
        self.chain = tuple(chain)
        super().__init__(f"{' -> '.join(self.chain)}: {problem}")

    def asked_by(self, *names: str) -> DependencyError:
        """The same, with those who asked before in front."""
        return DependencyError(self.problem, (*names, *self.chain))


def required(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """Those that must be given: one with a default is left alone."""
    return [p for p in parameters if p.default is p.empty and p.kind not in _VARIABLE]


def needs_of(called: Callable[..., Any], *, skip: int = 0) -> tuple[tuple[str, Any], ...]:
    """Name and type of each parameter that must be given, but for the first `skip` ones.

    called: a function or a class. Raises DependencyError where a type cannot be told, ValueError or TypeError where
    nothing can be told of `called`.
    """
    try:
        known = _resolved.setdefault(called, {})
    except TypeError:  # unhashable, or nothing that a weak reference can be made of
        known = {}
    if skip not in known:
        parameters = list(inspect.signature(called).parameters.values())[skip:]
        known[skip] = tuple((parameter.name, _type_of(called, parameter)) for parameter in required(parameters))
    return known[skip]


def name_of(wanted: Any) -> str:
    """How messages call a type or function."""
    return getattr(wanted, "__qualname__", None) or str(wanted)


def _type_of(called: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise DependencyError(
            f"its parameter {parameter.name!r} is given by name: move it behind the /", [name_of(called)]
        )
    if parameter.annotation is parameter.empty:
        raise DependencyError(
            f"its parameter {parameter.name!r} has no annotation, which would tell what it needs: annotate it with a "
            "type, or give it a default",
            [name_of(called)],
        )
    holder: Any = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return typing.get_type_hints(holder, _names_around(called), include_extras=True)["it"]
    except Exception as error:
        raise DependencyError(
            f"the type of its parameter {parameter.name}: {parameter.annotation} cannot be told at run time "
            f"({type(error).__name__}: {error}): import it at the top of {called.__module__}, and not under "
            "`if TYPE_CHECKING`",
            [name_of(called)],
        ) from None


def _names_around(called: Any) -> dict[str, Any]:
    """What an annotation of it may speak of: of a class also what its bases know, whose arguments a dataclass takes."""
    names: dict[str, Any] = {}
    for base in reversed(called.__mro__ if inspect.isclass(called) else ()):
        names |= vars(sys.modules.get(base.__module__, types.ModuleType("gone")))
    function = inspect.unwrap(called.__init__ if inspect.isclass(called) else called)
    return getattr(function, "__globals__", {}) | names
