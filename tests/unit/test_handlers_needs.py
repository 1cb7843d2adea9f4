"""Function handlers that ask a container for more than the event, by annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from events_core import BindError, DomainEvent, EventMap, NotificationEvent, Retry
from events_core.containers import DependencyError
from events_core.handlers import inspect_handler
from events_core.policies import Breaker, Limit
from events_core.subscribers import make_subscriber

if TYPE_CHECKING:
    from nowhere import Missing


class Placed(DomainEvent, event_type="needs.placed"):
    pass


class Heard(NotificationEvent, event_type="needs.heard", topic="needs"):
    pass


class Orders:
    pass


class Mailer:
    pass


def ship(event: Placed, orders: Orders, *, mailer: Mailer, tries: int = 3, **more: Any) -> None: ...


async def ship_soon(event: Placed, orders: Later) -> None: ...


class Later:
    """Defined below the handler that asks for it."""


def plain(event: Placed, tries: int = 3) -> None: ...


def positional(event: Placed, orders: Orders, /) -> None: ...


def unannotated(event: Placed, orders) -> None: ...  # type: ignore[no-untyped-def]


def hidden(event: Placed, orders: Missing) -> None: ...


def of_two(event: Placed, other: Heard) -> None: ...


class Asking:
    def handle(self, event: Placed, orders: Orders) -> None: ...


def heard(event: Heard, orders: Orders) -> None: ...


def test_parameters_without_a_default_are_given_by_their_annotation() -> None:
    spec = inspect_handler(ship)
    assert spec.parameters == ("orders", "mailer")
    assert spec.needs == (("orders", Orders), ("mailer", Mailer))
    assert inspect_handler(ship_soon).needs == (("orders", Later),)


def test_a_function_of_the_event_alone_needs_nothing() -> None:
    assert inspect_handler(plain).parameters == inspect_handler(plain).needs == ()


def test_fallbacks_and_subscribers_ask_too() -> None:
    spec = inspect_handler(plain, fallback=ship)
    assert spec.fallback is not None
    assert [name for name, _ in spec.fallback.needs] == ["orders", "mailer"]
    subscriber = make_subscriber(
        inspect_handler(heard), [Heard], topic=None, queue=None, system="needs", latest_only=False
    )
    assert subscriber.spec.needs == (("orders", Orders),)


class Other(DomainEvent, event_type="needs.other"):
    pass


def test_the_event_is_still_told_by_the_first_parameter() -> None:
    with pytest.raises(BindError, match=r"ship takes Placed, but is bound to Other"):
        EventMap().bind(Other, ship)


@pytest.mark.parametrize(
    "handler, message",
    [
        (
            unannotated,
            r"unannotated\(.*others that a container gives.*annotate orders with a type, or",
        ),
        (positional, r"positional\(.*orders is given by name: move it behind the /"),
        (of_two, r"of_two\(.*takes one parameter, the event, and other is one too"),
        (Asking, r"Asking\(.*ask for orders in the constructor, def __init__\(self, orders\)"),
    ],
)
def test_what_could_not_be_given(handler: Any, message: str) -> None:
    with pytest.raises(BindError, match=message):
        inspect_handler(handler)
    with pytest.raises(BindError, match="its fallback cannot run"):
        inspect_handler(plain, fallback=handler)


def test_a_type_that_is_not_there_at_run_time_is_said_when_it_is_asked_for() -> None:
    """It binds, because the type may be defined further down in the module; `events check` asks."""
    spec = inspect_handler(hidden)
    with pytest.raises(DependencyError, match=r"^hidden: .*orders: Missing cannot be told.*not under `if TYPE_CH"):
        assert spec.needs


class TestInTransaction:
    def test_it_is_kept(self) -> None:
        assert inspect_handler(ship, in_transaction=True).in_transaction
        assert not inspect_handler(ship).in_transaction

    @pytest.mark.parametrize(
        "option",
        [
            {"queue": "mail"},
            {"retry": Retry()},
            {"retry": None},
            {"timeout": 3},
            {"aliases": ["old"]},
            {"args": lambda event: ()},
            {"limit": Limit("smtp", 3)},
            {"breaker": Breaker("smtp")},
            {"ordered_by": "event_id"},
            {"fallback": plain},
        ],
        ids=lambda option: next(iter(option)),
    )
    def test_options_of_a_delivery_would_do_nothing(self, option: dict[str, Any]) -> None:
        with pytest.raises(BindError, match=rf"{next(iter(option))}= would do nothing for ship"):
            inspect_handler(ship, in_transaction=True, **option)

    def test_a_celery_task_cannot_be_one(self) -> None:
        class Task:
            name = "mail"

            def apply_async(self) -> None: ...

            def run(self, *args: Any) -> None: ...

        with pytest.raises(BindError, match="mail is a Celery task, and those run in a worker"):
            inspect_handler(Task(), in_transaction=True)
