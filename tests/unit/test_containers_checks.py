"""`events check` and the worker's log tell what handlers need and nothing makes, before the first event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import dishka
import pytest

from events_core import DomainEvent, EventHandler, EventSystem, NotificationEvent
from events_core.brokers import InMemoryBroker
from events_core.containers import DefaultContainer
from events_worker.checks import log_findings
from events_worker.checks.application import check_application

if TYPE_CHECKING:
    from nowhere import Missing

NOWHERE = "redis://127.0.0.1:1/0"


class Placed(DomainEvent, event_type="container_checks.placed"):
    pass


class Heard(NotificationEvent, event_type="container_checks.heard", topic="container_checks"):
    pass


class Session(Protocol):
    def commit(self) -> None: ...


class Orders:
    def __init__(self, session: Session) -> None: ...


def ship(event: Placed, orders: Orders) -> None: ...


class Ship(EventHandler[Placed]):
    def __init__(self, orders: Orders) -> None: ...

    def handle(self, event: Placed) -> None: ...


def plain(event: Placed) -> None: ...


def heard(event: Heard, orders: Orders) -> None: ...


def hidden(event: Placed, orders: Missing) -> None: ...


class Own:
    def resolve(self, wanted: Any) -> Any:
        raise LookupError(wanted)


def open_session() -> Session:
    raise AssertionError("a check made something")


def system(container: Any = None) -> EventSystem:
    return EventSystem("container_checks", broker_url=NOWHERE, container=container, message_broker=InMemoryBroker())


def errors(checked: EventSystem, level: str = "error") -> list[str]:
    return [finding.text for finding in check_application(checked) if finding.level == level]


def with_sessions() -> DefaultContainer:
    container = DefaultContainer()
    container.register(Session, object())
    return container


@pytest.mark.parametrize("handler", [ship, Ship])
def test_the_chain_to_what_is_missing(handler: Any) -> None:
    """The handler, what it asks for, and what that asks for; and what to do."""
    checked = system()
    checked.bind(Placed, handler, name="shop.ship")
    [text] = errors(checked)
    name = handler.__qualname__
    assert text.startswith(f"shop.ship cannot run: {name} -> Orders -> Session: nothing makes a Session; register(Sess")
    assert "EventSystem('container_checks', container=DefaultContainer())" in text
    fine = system(with_sessions())
    fine.bind(Placed, handler)
    assert errors(fine) == []


@pytest.mark.parametrize("handler", [ship, Ship])
@pytest.mark.parametrize("make", [dishka.make_container, dishka.make_async_container])
def test_dishka_is_asked_too(handler: Any, make: Any) -> None:
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    checked = system(make(provider))
    checked.bind(Placed, handler, name="shop.ship")
    assert errors(checked) == [
        f"shop.ship cannot run: {handler.__qualname__} -> Orders: no provider makes it in the scope REQUEST or a wider "
        "one; add one to make_container"
    ]
    provider.provide(Orders)
    provider.provide(open_session, provides=Session)
    fine = system(make(provider))
    fine.bind(Placed, handler)
    assert errors(fine) == []


def test_fallbacks_and_subscribers() -> None:
    checked = system()
    checked.bind(Placed, plain, fallback=ship)
    checked.subscriber(events=[Heard])(heard)
    fallback, subscriber = errors(checked)
    assert fallback.startswith("tests.unit.test_containers_checks.ship cannot run: ship -> Orders -> Session")
    assert subscriber.startswith("tests.unit.test_containers_checks.heard cannot run: heard -> Orders -> Session")


def test_a_container_of_the_applications_is_not_judged() -> None:
    """But a type that is nowhere at run time could not even be asked for."""
    checked = system(Own())
    checked.bind(Placed, ship)
    checked.bind(Placed, Ship)
    assert errors(checked) == []
    checked.bind(Placed, hidden)
    [text] = errors(checked)
    assert "hidden: the type of its parameter orders: Missing cannot be told at run time" in text


def test_whoever_emits_may_make_instances_of_in_transaction_classes() -> None:
    """So that is no error, which would fail a deployment."""
    checked = system()
    checked.bind(Placed, Ship, in_transaction=True)
    checked.bind(Placed, ship, in_transaction=True)
    [text] = errors(checked)
    assert "cannot run: ship ->" in text
    [text] = [text for text in errors(checked, "warning") if "cannot run" in text]
    assert "cannot run, unless whoever emits the event makes its instances itself: Ship -> Orders" in text


def test_a_worker_says_it_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    checked = system()
    checked.bind(Placed, ship)
    with caplog.at_level(logging.WARNING, "events_worker.checks"):
        log_findings(checked)
    assert [line for line in caplog.messages if "cannot run: ship -> Orders -> Session: nothing makes" in line]
