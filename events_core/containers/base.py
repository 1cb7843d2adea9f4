"""What the worker asks of a dependency-injection container."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Container(Protocol):
    """Makes instances of handler classes. Give yours as ``EventSystem(..., container=...)``."""

    def resolve(self, wanted: type[T]) -> Any:
        """An instance of `wanted`, or an awaitable of one. Called once for each run of a delivery."""
        ...
