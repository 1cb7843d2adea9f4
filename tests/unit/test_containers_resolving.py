"""One scope of any container around one run: resolving() and aresolving()."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import dishka
import pytest

from events_core import ConfigurationError
from events_core.containers import DefaultContainer, DependencyError
from events_core.containers.adapting import adapted, check_container
from events_core.containers.dishka import DishkaContainer
from events_core.containers.resolving import aresolving, resolving


class Session:
    """What is opened and ended with a scope."""


class Mailer:
    """One for all."""


class Unknown:
    pass


class Handler:
    def __init__(self, session: Session, mailer: Mailer) -> None:
        self.session, self.mailer = session, mailer

    def handle(self, event: object) -> None: ...


class Lost:
    def __init__(self, unknown: Unknown) -> None: ...

    def handle(self, event: object) -> None: ...


class Plain:
    """diator's protocol: an async resolve, and nothing else."""

    def attach_external_container(self, container: object) -> None: ...

    async def resolve(self, wanted: type[Any]) -> Any:
        await asyncio.sleep(0)
        return wanted()


class Scoped:
    """A container of the application's with scopes."""

    def __init__(self, *, is_async: bool, seen: list[str], failing: bool = False) -> None:
        self.is_async, self.seen, self.failing = is_async, seen, failing

    def scope(self) -> Any:
        return self._ascope() if self.is_async else self._scope()

    def resolve(self, wanted: type[Any]) -> Any:
        return wanted()

    @contextmanager
    def _scope(self) -> Iterator[Scoped]:
        self.seen.append("open")
        try:
            yield self
        except BaseException as error:
            self.seen.append(repr(error))  # and swallows it
        else:
            self.seen.append("closed")
        if self.failing:
            raise ConnectionError("at the end")

    @asynccontextmanager
    async def _ascope(self) -> AsyncIterator[Scoped]:
        with self._scope():
            await asyncio.sleep(0)
            yield self


def provider(seen: list[str], *, failing: bool = False) -> dishka.Provider:
    def session() -> Iterator[Session]:
        error = yield Session()
        seen.append(repr(error))
        if failing:
            raise ConnectionError("at the end")

    made = dishka.Provider(scope=dishka.Scope.REQUEST)
    made.provide(session, provides=Session)
    made.provide(Mailer, scope=dishka.Scope.APP)
    return made


def containers(seen: list[str], *, failing: bool = False) -> list[Any]:
    """All kinds that open a scope for each run."""
    default = DefaultContainer()

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except Exception as error:
            seen.append(repr(error))
            raise
        seen.append("None")
        if failing:
            raise ConnectionError("at the end")

    default.register(Session, session)
    default.register(Mailer, Mailer())
    return [
        default,
        dishka.make_container(provider(seen, failing=failing)),
        dishka.make_async_container(provider(seen, failing=failing)),
        DishkaContainer(dishka.make_container(provider(seen, failing=failing))),
    ]


def use(container: Any, wanted: Any, *, in_async: bool, error: Exception | None = None) -> Any:
    """Resolve it twice within one scope, and fail there with the error."""
    loop = asyncio.new_event_loop()

    def sync() -> Any:
        with resolving(container, lambda make: loop.run_until_complete(make())) as resolve:
            found = resolve(wanted), resolve(wanted)
            if error is not None:
                raise error
            return found

    async def run() -> Any:
        async with aresolving(container) as resolve:
            found = await resolve(wanted), await resolve(wanted)
            if error is not None:
                raise error
            return found

    try:
        return loop.run_until_complete(run()) if in_async else sync()
    finally:
        loop.close()


both = pytest.mark.parametrize("in_async", [False, True], ids=["sync", "async"])
each = pytest.mark.parametrize("index", range(4), ids=["default", "dishka", "async dishka", "wrapped dishka"])


@both
@each
class TestScopes:
    def test_one_for_each_run(self, index: int, in_async: bool) -> None:
        """Hole 15: nothing of a scope is seen in another, and it is ended after a success."""
        seen: list[str] = []
        container = containers(seen)[index]
        runs = [use(container, Session, in_async=in_async) for _ in range(2)]
        assert runs[0][0] is runs[0][1]
        assert runs[0][0] is not runs[1][0]
        assert use(container, Mailer, in_async=in_async)[0] is use(container, Mailer, in_async=in_async)[0]
        assert seen == ["None", "None"]

    def test_a_handler_class_needs_no_provider(self, index: int, in_async: bool) -> None:
        """It is made from its constructor's annotations; what those ask for comes from the container."""
        handler, _ = use(containers([])[index], Handler, in_async=in_async)
        assert isinstance(handler.session, Session)
        assert isinstance(handler.mailer, Mailer)

    def test_a_failure_is_told_and_stays(self, index: int, in_async: bool) -> None:
        seen: list[str] = []
        with pytest.raises(ValueError, match="no stock"):
            use(containers(seen, failing=True)[index], Session, in_async=in_async, error=ValueError("no stock"))
        assert seen == ["ValueError('no stock')"]

    def test_an_end_that_fails_is_a_failure(self, index: int, in_async: bool) -> None:
        """A commit that fails must be retried, and Retry(on=ConnectionError) recognises it."""
        with pytest.raises(ConnectionError, match="at the end"):
            use(containers([], failing=True)[index], Session, in_async=in_async)


@both
class TestOwnContainers:
    def test_an_async_resolve_is_all_it_takes(self, in_async: bool) -> None:
        assert isinstance(use(Plain(), Session, in_async=in_async)[0], Session)

    @pytest.mark.parametrize("is_async", [False, True])
    def test_its_scope_is_entered_and_left(self, is_async: bool, in_async: bool) -> None:
        seen: list[str] = []
        use(Scoped(is_async=is_async, seen=seen), Session, in_async=in_async)
        assert seen == ["open", "closed"]

    @pytest.mark.parametrize("is_async", [False, True])
    def test_one_that_nobody_asks_is_not_opened(self, is_async: bool, in_async: bool) -> None:
        """A run that needs nothing costs nothing, and a sync one needs no loop for an async container."""

        def refuse(make: object) -> None:
            raise AssertionError("something async was opened")

        async def run(container: Any) -> None:
            async with aresolving(container):
                pass

        seen: list[str] = []
        container = Scoped(is_async=is_async, seen=seen)
        if in_async:
            asyncio.run(run(container))
        else:
            with resolving(container, refuse):
                pass
        assert seen == []

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_scope_that_swallows_an_error_hides_nothing(
        self, is_async: bool, in_async: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []
        container = Scoped(is_async=is_async, seen=seen, failing=True)
        with pytest.raises(ValueError, match="no stock"):
            use(container, Session, in_async=in_async, error=ValueError("no stock"))
        assert seen == ["open", "ValueError('no stock')"]
        assert "ending a scope after a ValueError failed too: ConnectionError" in caplog.messages

    def test_none_is_the_default_container(self, in_async: bool) -> None:
        assert isinstance(use(None, Mailer, in_async=in_async)[0], Mailer)


class TestChecks:
    @pytest.mark.parametrize("wanted, chain", [(Lost, "Lost -> Unknown"), (Unknown, "Unknown")])
    def test_what_dishka_could_not_make(self, wanted: Any, chain: str) -> None:
        for container in containers([])[1:]:
            with pytest.raises(DependencyError, match=rf"^{chain}: no provider makes it.*add one to make_container"):
                adapted(container).check(wanted)
            adapted(container).check(Handler)

    def test_what_a_provider_of_dishka_needs_in_vain(self) -> None:
        """Also where dishka was told not to look; and what only a web request brings along."""
        hidden = provider([])
        hidden.provide(Lost)
        unchecked = dishka.make_container(hidden, skip_validation=True)
        with pytest.raises(DependencyError, match=r"^Lost -> Unknown: no provider"):
            adapted(unchecked).check(Lost)
        hidden.from_context(provides=Unknown, scope=dishka.Scope.REQUEST)
        with pytest.raises(DependencyError, match=r"^Lost -> Unknown: it comes from the scope's context"):
            adapted(dishka.make_container(hidden)).check(Lost)
        given = provider([])
        given.from_context(provides=Unknown, scope=dishka.Scope.APP)
        adapted(dishka.make_container(given, context={Unknown: Unknown()})).check(Lost)

    def test_what_is_no_container(self) -> None:
        for fine in (None, Plain(), Scoped(is_async=True, seen=[]), *containers([])):
            check_container(fine)
        with pytest.raises(ConfigurationError, match="not a dict"):
            check_container({})
        with pytest.raises(ConfigurationError, match="not the class DefaultContainer: call it"):
            check_container(DefaultContainer)
