"""dishka's containers: one REQUEST scope for each run of a delivery."""

from __future__ import annotations

from typing import Any

from dishka import AsyncContainer, Container, DependencyKey
from dishka.entities.key import hint_to_dependency_key
from dishka.exceptions import ExitError

from events_core.containers.dishka_graph import check, factory_of
from events_core.containers.recipes import is_handler
from events_core.needs import DependencyError, name_of, needs_of


class DishkaContainer:
    """Lets handlers get what they need from a container of dishka's.

    container: a Container or an AsyncContainer, as ``make_container`` or ``make_async_container`` makes it.
    ``EventSystem(container=...)`` takes those as they are; this class is for who needs one of ours.

    A handler class that no provider makes is made from its constructor's annotations.
    """

    def __init__(self, container: Container | AsyncContainer) -> None:
        self.container = container

    def scope(self) -> _Scope | _AsyncScope:
        """One REQUEST scope."""
        return _Scope(self.container()) if isinstance(self.container, Container) else _AsyncScope(self.container())

    def check(self, wanted: Any) -> None:
        """Raise DependencyError where `wanted`, or what it needs, has no provider. Makes nothing."""
        scope = self.container()
        if not _made_here(scope, wanted):
            check(scope, _key(wanted))
            return
        for _, need in needs_of(wanted):
            try:
                check(scope, _key(need))
            except DependencyError as error:
                raise error.asked_by(name_of(wanted)) from None


class _Scope:
    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> _Scope:
        self._container.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._container.__exit__(*error)
        except ExitError as failed:
            raise _only_one(failed) from None

    def resolve(self, wanted: Any) -> Any:
        if _made_here(self._container, wanted):
            return wanted(**{name: self._get(need) for name, need in needs_of(wanted)})
        return self._get(wanted)

    def _get(self, wanted: Any) -> Any:
        key = _key(wanted)
        return self._container.get(key.type_hint, component=key.component)


class _AsyncScope:
    def __init__(self, container: AsyncContainer) -> None:
        self._container = container

    async def __aenter__(self) -> _AsyncScope:
        await self._container.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._container.__aexit__(*error)
        except ExitError as failed:
            raise _only_one(failed) from None

    async def resolve(self, wanted: Any) -> Any:
        if _made_here(self._container, wanted):
            return wanted(**{name: await self._get(need) for name, need in needs_of(wanted)})
        return await self._get(wanted)

    async def _get(self, wanted: Any) -> Any:
        key = _key(wanted)
        return await self._container.get(key.type_hint, component=key.component)


def _made_here(container: Container | AsyncContainer, wanted: Any) -> bool:
    return is_handler(wanted) and factory_of(container, _key(wanted)) is None


def _key(wanted: Any) -> DependencyKey:
    return hint_to_dependency_key(wanted).with_component("")


def _only_one(failed: ExitError) -> Exception:
    """What Retry(on=...) and people can recognise."""
    return failed.exceptions[0] if len(failed.exceptions) == 1 else failed
