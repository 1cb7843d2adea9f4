"""The container of applications that have none: constructor annotations and registered factories."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from events_core.containers.closing import left
from events_core.containers.entering import instance_from, is_instance, is_mock
from events_core.containers.recipes import Recipe, bare, of_class, of_factory
from events_core.containers.steps import Steps, awalk, walk
from events_core.needs import DependencyError, name_of


class DefaultContainer:
    """Makes classes from their constructor's annotations, and what is registered from its factory.

    Within a scope, which is one run of a delivery, there is one instance of each type.
    """

    def __init__(self) -> None:
        self._registered: dict[Any, Recipe] = {}
        self._recipes: dict[Any, Recipe] = {}

    def register(self, wanted: Any, made: Any) -> None:
        """Say how a `wanted` comes about.

        made: a class, made from its constructor's annotations; a function of annotated parameters, sync or async; a
        generator function or one under ``@contextmanager``, sync or async, which goes on when the scope ends, and is
        told the exception of a failed run there; or, where it is an instance of `wanted` or cannot be called, the one
        instance that everybody gets. Registering again replaces it.

        Raises DependencyError for a function of which a parameter has neither default nor annotation.
        """
        if is_instance(made, wanted) or not callable(made) or is_mock(made):
            self._registered[wanted] = Recipe(wanted, lambda: made)
        else:
            self._registered[wanted] = recipe = of_factory(wanted, made)
            if recipe.alias is not None:
                self._registered.setdefault(made, of_factory(made, made))
        self._recipes.clear()

    def scope(self) -> DefaultScope:
        """A scope of its own, for ``with`` or ``async with``."""
        return DefaultScope(self)

    def check(self, wanted: Any, chain: tuple[Any, ...] = ()) -> None:
        """Raise DependencyError where `wanted`, or what it needs, cannot be made. Makes nothing.

        chain: who asked for it, from the first on.
        """
        for need in needed_by(self.recipe_within(wanted, chain)):
            self.check(need, (*chain, wanted))

    def recipe(self, wanted: Any) -> Recipe:
        """How `wanted` is made. Raises DependencyError where nothing makes it."""
        try:
            return self._recipes[wanted]
        except KeyError:
            pass
        recipe = self._registered.get(wanted, self._registered.get(bare(wanted)))
        if recipe is None:
            recipe = of_class(bare(wanted))
        self._recipes[wanted] = recipe
        return recipe

    def recipe_within(self, wanted: Any, chain: tuple[Any, ...]) -> Recipe:
        """As `recipe`. chain: who asked for it, from the first on. Raises DependencyError for a circle too."""
        names = [name_of(asked) for asked in chain]
        if wanted in chain:
            raise DependencyError(
                "they need each other, so that none can be made first; register one of them with a function that does "
                "without the others",
                [*names, name_of(wanted)],
            )
        try:
            return self.recipe(wanted)
        except DependencyError as error:
            raise error.asked_by(*names) from None


class DefaultScope:
    """What the default container makes for one run."""

    def __init__(self, container: DefaultContainer) -> None:
        self._container = container
        self._made: dict[Any, Any] = {}
        self._managers: list[tuple[Any, bool]] = []
        self._is_async = False

    def __enter__(self) -> DefaultScope:
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        walk(self.leave(error), _refuse)

    async def __aenter__(self) -> DefaultScope:
        self._is_async = True
        return self

    async def __aexit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        await awalk(self.leave(error))

    def resolve(self, wanted: Any) -> Any:
        """The scope's instance of `wanted`; within ``async with`` an awaitable of it.

        Raises DependencyError where it cannot be made, or needs to be awaited within ``with``.
        """
        return awalk(self.make(wanted)) if self._is_async else walk(self.make(wanted), _refuse)

    def make(self, wanted: Any, chain: tuple[Any, ...] = ()) -> Steps[Any]:
        """As `resolve`, in steps. chain: who asked for it."""
        if wanted in self._made:
            return self._made[wanted]
        recipe = self._container.recipe_within(wanted, chain)
        if recipe.wanted in self._made:  # of an Annotated[wanted, ...]
            return self._made[recipe.wanted]
        given = []
        for need in needed_by(recipe):
            given.append((yield from self.make(need, (*chain, wanted))))
        if recipe.alias is not None:
            made = given[0]
        else:
            made = recipe.make(**{name: value for (name, _), value in zip(recipe.needs, given, strict=True)})
            if recipe.is_factory:
                made = yield from instance_from(made, recipe.wanted, self._managers)
        if made is None:
            names_so_far = [name_of(asked) for asked in (*chain, wanted)]
            raise DependencyError("its factory gave None: let it return or yield the instance", names_so_far)
        self._made[recipe.wanted] = made
        return made

    def leave(self, error: BaseException | None) -> Steps[None]:
        """End what was made, last first, in steps. Raises the first error of that, unless the run has failed."""
        failed = error
        while self._managers:
            manager, is_async = self._managers.pop()
            try:
                yield from left(manager, failed, is_async=is_async)
            except BaseException as closing:  # the others roll back, and none is left open
                failed = closing
        self._made.clear()
        if failed is not None and failed is not error:
            raise failed


def needed_by(recipe: Recipe) -> list[Any]:
    """The types that must be made before."""
    return [recipe.alias] if recipe.alias is not None else [wanted for _, wanted in recipe.needs]


def _refuse(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    raise DependencyError("something in it is async; enter the scope with `async with`", ["scope"])
