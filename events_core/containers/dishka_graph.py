"""What a container of dishka's could not make, told from its graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from events_core.needs import DependencyError, name_of

if TYPE_CHECKING:
    from dishka import AsyncContainer, Container, DependencyKey
    from dishka.dependency_source.factory import Factory

_CHOSEN_LATER = ("SELECTOR", "COLLECTION")


def factory_of(container: Container | AsyncContainer, key: DependencyKey) -> Factory | None:
    """What makes `key` in that container's scope or one around it."""
    scope: Any = container
    while scope is not None:
        factory: Factory | None = scope.registry.get_factory(key)
        if factory is not None:
            return factory
        scope = scope.parent_container
    return None


def check(container: Container | AsyncContainer, key: DependencyKey, chain: tuple[DependencyKey, ...] = ()) -> None:
    """Raise DependencyError where `key`, or what it needs, has no provider. Makes nothing.

    container: a REQUEST scope. chain: who asked for it, from the first on.
    """
    factory = factory_of(container, key)
    if factory is None:
        raise _error("no provider makes it in the scope REQUEST or a wider one; add one to make_container", key, chain)
    if factory.type.name == "CONTEXT":
        if factory.scope is container.registry.scope:
            raise _error("it comes from the scope's context, and a delivery has none; provide it otherwise", key, chain)
        return
    if key in chain:
        return  # dishka refuses circles itself, unless it was told not to
    for need in _needs(factory):
        check(container, need, (*chain, key))


def _needs(factory: Factory) -> Iterator[DependencyKey]:
    if factory.when_dependencies or factory.type.name in _CHOSEN_LATER:
        return  # what it needs depends on what is active when it is made
    for need in (*factory.dependencies, *factory.kw_dependencies.values()):
        if not need.is_marker() and not need.is_const() and not need.is_type_var():
            yield need


def _error(problem: str, key: DependencyKey, chain: tuple[DependencyKey, ...]) -> DependencyError:
    return DependencyError(problem, [name_of(asked.type_hint) for asked in (*chain, key)])
