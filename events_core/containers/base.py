"""What is asked of a dependency-injection container."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeAlias


class Container(Protocol):
    """Makes instances of handler classes, and what function handlers ask for.

    Give yours as ``EventSystem(..., container=...)``.
    """

    def resolve(self, wanted: Any, /) -> Any:
        """An instance of `wanted`, or an awaitable of one. Called for each run of a delivery.

        wanted: a handler class, or the annotation of a function handler's parameter.
        """
        ...


class ScopedContainer(Protocol):
    """A container whose instances live as long as one run of a delivery: a session, a unit of work."""

    def scope(self) -> AbstractContextManager[Container] | AbstractAsyncContextManager[Container]:
        """What gives a `Container` for one run when it is entered, and ends what that has made when it is left.

        It is left with the handler's exception if the run has failed, so that it can roll back. What it raises then is
        logged, and the handler's own exception stays. What it raises after a success makes a failure of it.
        """
        ...


class DishkaLike(Protocol):
    """A ``dishka.Container`` or ``dishka.AsyncContainer``: calling it opens a scope."""

    def __call__(self) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """A scope of the next kind: REQUEST."""
        ...


#: What ``EventSystem(container=...)`` takes.
AnyContainer: TypeAlias = Container | ScopedContainer | DishkaLike
