"""What an application gives as its container, as one that we can ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events_core.containers.default import DefaultContainer
from events_core.errors import ConfigurationError

#: Of applications that have none.
_default = DefaultContainer()


def adapted(container: Any) -> Any:
    """A `Container` or `ScopedContainer`. None is the default container; one of dishka's gets its adapter."""
    if container is None:
        return _default
    if _is_of_dishka(container):
        from events_core.containers.dishka import DishkaContainer

        return DishkaContainer(container)
    return container


def checker(container: Any) -> Callable[[Any], None] | None:
    """What raises DependencyError for what the container cannot make. None for one that cannot be asked."""
    if container is None or isinstance(container, DefaultContainer) or _is_of_dishka(container):
        return adapted(container).check  # type: ignore[no-any-return]
    check = getattr(container, "check", None)
    return check if type(container).__module__ == "events_core.containers.dishka" else None


def check_container(container: Any) -> None:
    """Raise ConfigurationError for what cannot be a container."""
    if container is None or _is_of_dishka(container):
        return
    if isinstance(container, type):
        raise ConfigurationError(f"container= takes an instance, not the class {container.__qualname__}: call it")
    if not any(callable(getattr(container, method, None)) for method in ("resolve", "scope")):
        raise ConfigurationError(
            f"container= takes an object with resolve(wanted), or with scope(), or a container of dishka's, not a "
            f"{type(container).__name__}"
        )


def _is_of_dishka(container: Any) -> bool:
    # recognised by name: a process that has no dishka has no such container, and must not need dishka to tell
    return any(
        base.__module__.partition(".")[0] == "dishka" and base.__name__ in ("Container", "AsyncContainer")
        for base in type(container).__mro__
    )
