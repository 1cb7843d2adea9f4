"""The default container: constructor annotations, registered factories, one scope for each run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from unittest.mock import MagicMock

import pytest

from events_core.containers import DefaultContainer, DependencyError

if TYPE_CHECKING:
    from nowhere import Missing


class Clock:
    """Nothing in its constructor."""


class Orders:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class Ship:
    def __init__(self, orders: Orders, clock: Clock, *, label: str = "none") -> None:
        self.orders, self.clock, self.label = orders, clock, label


class Session(Protocol):
    def commit(self) -> None: ...


class Stock:
    def __init__(self, session: Session) -> None: ...


class Table(ABC):
    @abstractmethod
    def row(self) -> int: ...


class Optional_:
    def __init__(self, url: str = "sqlite://") -> None: ...


class Unannotated:
    def __init__(self, given) -> None: ...  # type: ignore[no-untyped-def]


class Hidden:
    def __init__(self, given: Missing) -> None: ...


class Chicken:
    def __init__(self, egg: Egg) -> None: ...


class Egg:
    def __init__(self, chicken: Chicken) -> None: ...


@dataclass
class Floating:
    orders: Orders


@dataclass
class Sailing(Floating):
    clock: Clock
    speed: int = 3


class Handler:
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    def handle(self, event: object) -> None: ...


def made(container: DefaultContainer, wanted: Any) -> Any:
    with container.scope() as scope:
        return scope.resolve(wanted)


def failing(container: DefaultContainer, wanted: Any) -> None:
    with container.scope() as scope:
        scope.resolve(wanted)
        raise ValueError("no stock")


class TestConstructors:
    def test_annotations_say_what_is_made(self) -> None:
        """Dependencies of dependencies too; arguments with a default are left alone."""
        ship = made(DefaultContainer(), Ship)
        assert isinstance(ship.orders.clock, Clock)
        assert ship.label == "none"

    def test_one_instance_of_a_type_in_a_scope_another_in_the_next(self) -> None:
        container = DefaultContainer()
        with container.scope() as scope:
            ship = scope.resolve(Ship)
            assert ship.clock is ship.orders.clock is scope.resolve(Clock)
            assert scope.resolve(Annotated[Clock, "for the night"]) is ship.clock
        assert made(container, Clock) is not ship.clock

    def test_a_dataclass_from_its_fields(self) -> None:
        ship = made(DefaultContainer(), Sailing)
        assert isinstance(ship.orders, Orders)
        assert ship.clock is ship.orders.clock

    def test_a_handler_class_with_defaults_only_is_made(self) -> None:
        assert made(DefaultContainer(), Handler).greeting == "hello"


class TestRegistered:
    def test_an_instance_is_everybodys(self) -> None:
        container, clock = DefaultContainer(), Clock()
        container.register(Clock, clock)
        assert made(container, Clock) is made(container, Ship).clock is clock

    def test_a_class_in_place_of_another(self) -> None:
        """One instance, whichever name asks for it."""

        class Sql(Orders):
            pass

        container = DefaultContainer()
        container.register(Orders, Sql)
        with container.scope() as scope:
            assert scope.resolve(Orders) is scope.resolve(Sql)

    def test_a_function_gets_what_its_parameters_ask_for(self) -> None:
        def orders(clock: Clock, more: int = 3) -> Orders:
            return Orders(clock)

        container = DefaultContainer()
        container.register(Orders, orders)
        with container.scope() as scope:
            assert scope.resolve(Orders).clock is scope.resolve(Clock)

    def test_a_class_that_is_registered_as_itself(self) -> None:
        container = DefaultContainer()
        container.register(Optional_, Optional_)
        assert isinstance(made(container, Optional_), Optional_)

    def test_a_class_that_stands_for_another_is_made_whatever_its_defaults(self) -> None:
        class File(Optional_):
            def __init__(self, path: str = "x") -> None: ...

        container = DefaultContainer()
        container.register(Optional_, File)
        assert isinstance(made(container, Optional_), File)

    def test_a_mock_is_the_instance_itself(self) -> None:
        """It could be called, entered and awaited as well."""
        container, mock, other = DefaultContainer(), MagicMock(), MagicMock()
        container.register(Orders, mock)
        container.register(Clock, lambda: other)
        assert made(container, Orders) is mock
        assert made(container, Clock) is other

    def test_a_partial_of_a_generator_function(self) -> None:
        seen: list[str] = []

        def clock(word: str) -> Iterator[Clock]:
            yield Clock()
            seen.append(word)

        container = DefaultContainer()
        container.register(Clock, partial(clock, "ended"))
        assert isinstance(made(container, Clock), Clock)
        assert seen == ["ended"]

    def test_registering_again_replaces_it(self) -> None:
        container, clock = DefaultContainer(), Clock()
        container.register(Clock, Clock)
        made(container, Ship)
        container.register(Clock, clock)
        assert made(container, Ship).clock is clock

    def test_an_instance_that_is_a_context_manager_is_not_entered(self) -> None:
        """A unit of work is entered by its user."""

        class Work:
            entered = 0

            def __enter__(self) -> None:
                self.entered += 1

            def __exit__(self, *_: object) -> None: ...

        container = DefaultContainer()
        container.register(Work, lambda *_: Work())
        assert made(container, Work).entered == 0

    def test_a_manager_around_an_instance_is_entered(self) -> None:
        """As sessionmaker.begin() gives one."""
        seen: list[str] = []

        class Begun:
            def __enter__(self) -> Clock:
                seen.append("begun")
                return Clock()

            def __exit__(self, *_: object) -> None:
                seen.append("ended")

        container = DefaultContainer()
        container.register(Clock, lambda *_: Begun())
        assert isinstance(made(container, Clock), Clock)
        assert seen == ["begun", "ended"]


class TestEnding:
    def container(self, seen: list[str]) -> DefaultContainer:
        """An Orders that needs a Clock, both of which must be ended."""

        def clock() -> Iterator[Clock]:
            try:
                yield Clock()
            except Exception as error:
                seen.append(f"clock: {error}")
            else:
                seen.append("clock")

        @contextmanager
        def orders(clock: Clock) -> Iterator[Orders]:
            try:
                yield Orders(clock)
            except BaseException as error:
                seen.append(f"orders: {error}")
                raise
            seen.append("orders")

        container = DefaultContainer()
        container.register(Clock, clock)
        container.register(Orders, orders)
        return container

    def test_last_first_after_a_success(self) -> None:
        seen: list[str] = []
        made(self.container(seen), Orders)
        assert seen == ["orders", "clock"]

    def test_each_is_told_of_a_failure_even_if_one_swallows_it(self) -> None:
        """Generators roll back, and the error stays what it was."""
        seen: list[str] = []
        with pytest.raises(ValueError, match="no stock"):
            failing(self.container(seen), Orders)
        assert seen == ["orders: no stock", "clock: no stock"]

    def test_a_commit_that_fails_makes_the_others_roll_back(self) -> None:
        seen: list[str] = []
        container = self.container(seen)

        def orders(clock: Clock) -> Iterator[Orders]:
            yield Orders(clock)
            raise ConnectionError("at commit")

        container.register(Orders, orders)
        with pytest.raises(ConnectionError, match="at commit"):
            made(container, Orders)
        assert seen == ["clock: at commit"]

    def test_what_fails_after_a_failure_does_not_hide_it(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log names the types only: messages of databases quote what was written."""

        def clock() -> Iterator[Clock]:
            try:
                yield Clock()
            finally:
                raise ConnectionError("hunter2")

        container = DefaultContainer()
        container.register(Clock, clock)
        with pytest.raises(ValueError, match="no stock"):
            failing(container, Clock)
        assert caplog.messages == ["ending a scope after a ValueError failed too: ConnectionError"]

    def test_what_cannot_be_made_ends_what_was(self) -> None:
        seen: list[str] = []
        container = self.container(seen)

        def fails(orders: Orders) -> Stock:
            raise RuntimeError("no shelf")

        container.register(Stock, fails)
        with pytest.raises(RuntimeError):
            made(container, Stock)
        assert seen == ["orders: no shelf", "clock: no shelf"]

    def test_async_factories_are_awaited_and_ended(self) -> None:
        seen: list[str] = []

        async def clock() -> AsyncIterator[Clock]:
            await asyncio.sleep(0)
            yield Clock()
            await asyncio.sleep(0)
            seen.append("clock")

        async def orders(clock: Clock) -> Orders:
            await asyncio.sleep(0)
            return Orders(clock)

        container = DefaultContainer()
        container.register(Clock, clock)
        container.register(Orders, orders)

        async def main() -> None:
            async with container.scope() as scope:
                assert isinstance((await scope.resolve(Orders)).clock, Clock)
                assert seen == []

        asyncio.run(main())
        assert seen == ["clock"]
        with pytest.raises(DependencyError, match="enter the scope with `async with`"):
            made(container, Orders)


class TestWhatCannotBeMade:
    @pytest.mark.parametrize(
        "wanted, message",
        [
            (
                Stock,
                r"^Stock -> Session: nothing makes a Session; register\(Session, \.\.\.\) with a class or",
            ),
            (Table, r"^Table: nothing makes a Table; register"),
            (
                Optional_,
                r"^Optional_: .*arguments all have defaults; register\(Optional_, Optional_\) if those",
            ),
            (Unannotated, r"^Unannotated: its parameter 'given' has no annotation.*or give it a default"),
            (Hidden, r"^Hidden: the type of its parameter given: Missing .*at the top of tests\.unit\.test_containers"),
            (Chicken, r"^Chicken -> Egg -> Chicken: they need each other.*register one of them"),
            (str, r"^str: the type str does not tell which one is wanted; give it a type of its own"),
            (Clock | None, r"does not tell which one is wanted"),
            ("Clock", r"^Clock: the type Clock does not tell"),
        ],
    )
    def test_it_says_who_needs_what_and_what_to_do(self, wanted: Any, message: str) -> None:
        """The same when it is checked as when it is made."""
        with pytest.raises(DependencyError, match=message):
            DefaultContainer().check(wanted)
        with pytest.raises(DependencyError, match=message):
            made(DefaultContainer(), wanted)

    def test_a_factory_that_returns_nothing(self) -> None:
        container = DefaultContainer()
        container.register(Clock, lambda: None)
        with pytest.raises(DependencyError, match=r"^Ship -> Orders -> Clock: its factory gave None"):
            made(container, Ship)

    def test_a_factory_with_a_parameter_that_says_nothing(self) -> None:
        """When it is registered, not at the first event."""
        with pytest.raises(DependencyError, match=r"<lambda>: its parameter 'clock' has no annotation"):
            DefaultContainer().register(Orders, lambda clock: Orders(clock=clock))

    def test_a_factory_with_a_parameter_that_has_no_name_to_give_it_by(self) -> None:
        def orders(clock: Clock, /) -> Orders: ...  # type: ignore[empty-body]

        with pytest.raises(DependencyError, match=r"its parameter 'clock' is given by name: move it behind the /"):
            DefaultContainer().register(Orders, orders)

    def test_checking_makes_nothing(self) -> None:
        ran: list[str] = []
        container = DefaultContainer()
        container.register(Clock, lambda: ran.append("made"))
        container.check(Ship)
        assert ran == []
