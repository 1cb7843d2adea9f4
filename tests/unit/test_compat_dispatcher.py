"""DomainEventDispatcher: handlers in the caller's transaction, and nothing lost of what entities published."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from events_core import BindError, BrokerNotConfigured, EmitError, EventSystem, NotificationEvent
from events_core.brokers import InMemoryBroker
from events_core.compat import (
    AggregateRoot,
    DomainEvent,
    DomainEventDispatcher,
    DomainEventHandler,
    DomainEventHandlerFactory,
    DomainEventHandlerRegistry,
)
from events_core.entities import pending_events
from events_core.errors import DuplicateBinding, EmitMisused, HandlersNotLoaded, NotAnEvent
from events_core.events import Event


class Order(AggregateRoot):
    def __init__(self, number: int = 0) -> None:
        self.number = number


class Placed(DomainEvent):
    type: str = "compat_dispatcher.placed"
    order: Order


class PlacedAbroad(Placed):
    type: str = "compat_dispatcher.placed.abroad"


class Billed(DomainEvent):
    type: str = "compat_dispatcher.billed"
    number: int


class Told(NotificationEvent, event_type="compat_dispatcher.told"):
    number: int


class Lonely(DomainEvent):
    type: str = "compat_dispatcher.lonely"


class Audible(DomainEvent):
    type: str = "compat_dispatcher.audible"


Log = list[str]


class Bill(DomainEventHandler[Placed]):
    def __init__(self, log: Log) -> None:
        self.log = log

    async def handle(self, event: Placed) -> None:
        self.log.append(f"bill {event.order.number}")
        event.order.publish_event(Billed(number=event.order.number))


class Pack(DomainEventHandler[Placed]):
    def __init__(self, log: Log) -> None:
        self.log = log

    def handle(self, event: Placed) -> None:
        self.log.append(f"pack {event.order.number}")


class Book(DomainEventHandler[Billed]):
    def __init__(self, log: Log) -> None:
        self.log = log

    def handle(self, event: Billed) -> list[Event]:
        self.log.append(f"book {event.number}")
        return [Told(number=event.number)] if event.number > 100 else []


class Making(DomainEventHandlerFactory):
    """Makes handlers with one log, as one transaction has one session."""

    def __init__(self, *handlers: Any) -> None:
        self.log: Log = []
        self.registry = DomainEventHandlerRegistry({Placed: [h for h in handlers if h is not Book]})
        if Book in handlers:
            self.registry.add(Billed, Book)

    def create(self, event_type: type[Event]) -> list[Any]:
        return [handler(self.log) for handler in self.registry.get(event_type)]


class Failing(Pack):
    def handle(self, event: Placed) -> None:
        raise RuntimeError("no paper")


def placed(number: int = 1) -> Order:
    order = Order(number)
    order.publish_event(Placed(order=order))
    return order


class TestRegistry:
    def test_a_class_is_found_by_its_parameter(self) -> None:
        assert DomainEventHandler.registry.get(Placed) == [Bill, Pack]
        assert DomainEventHandler.registry.get(Billed) == [Book]

    def test_events_reach_handlers_of_their_base_classes(self) -> None:
        """Hole 12."""
        assert DomainEventHandler.registry.get(PlacedAbroad) == [Bill, Pack]

    def test_a_generic_base_of_handlers_is_none_itself(self) -> None:
        E = TypeVar("E", bound=DomainEvent)

        class Audited(DomainEventHandler[E]): ...

        class Audit(Audited[Audible]):
            def handle(self, event: Audible) -> None: ...

        assert DomainEventHandler.registry.get(Audible) == [Audit]
        DomainEventHandler.registry.remove(Audible, Audit)
        assert DomainEventHandler.registry.get(Audible) == []
        with pytest.raises(BindError, match="not registered for Audible"):
            DomainEventHandler.registry.remove(Audible, Audit)

    def test_twice_is_an_error_and_loaded_anew_is_not(self) -> None:
        """Hole 12."""
        registry = DomainEventHandlerRegistry({Placed: [Bill]})
        with pytest.raises(DuplicateBinding, match="Bill is registered for Placed already"):
            registry.add(Placed, Bill)
        newer = type("Bill", (Pack,), {"__module__": Bill.__module__, "__qualname__": "Bill"})
        registry.add(Placed, newer)
        assert registry.get(Placed) == [newer]

    @pytest.mark.parametrize("event", [Told, "placed", int])
    def test_what_is_no_domain_event_is_refused(self, event: Any) -> None:
        with pytest.raises(BindError, match="is no domain event"):
            DomainEventHandlerRegistry({event: [Bill]})


class TestProcessing:
    async def _process(self, factory: Making, *orders: Order) -> DomainEventDispatcher:
        dispatcher = DomainEventDispatcher(factory)
        for order in orders:
            dispatcher.from_entity(order)
        await dispatcher.process()
        return dispatcher

    def test_handlers_run_one_after_another_breadth_first(self) -> None:
        """Holes 3, 13, 15: first in, first out; sync and async ones; those that share a session never at once."""
        factory = Making(Bill, Pack, Book)
        asyncio.run(self._process(factory, placed(1), placed(2)))
        assert factory.log == ["bill 1", "pack 1", "bill 2", "pack 2", "book 1", "book 2"]

    def test_entities_have_nothing_left(self) -> None:
        order, factory = placed(), Making(Pack)
        dispatcher = asyncio.run(self._process(factory, order, order))
        assert pending_events(order) == ()
        asyncio.run(dispatcher.process())
        assert factory.log == ["pack 1"]

    def test_what_is_published_after_from_entity_is_processed_too(self) -> None:
        order, factory = Order(3), Making(Pack)
        dispatcher = DomainEventDispatcher(factory)
        dispatcher.from_entity(order)
        order.publish_event(Placed(order=order))
        dispatcher.process_sync()
        assert factory.log == ["pack 3"]

    def test_a_failure_is_the_callers_and_loses_nothing(self) -> None:
        """Hole 1: what a rolled back transaction has handled is handled again with the next one."""
        order, failing = placed(), Making(Bill, Failing)
        with pytest.raises(RuntimeError, match="no paper"):
            asyncio.run(self._process(failing, order))
        assert [type(event) for event in pending_events(order)] == [Placed, Billed]

    def test_a_handler_may_call_a_use_case_that_processes(self) -> None:
        """What that has published is handled after what came before it, by the call that runs already."""
        factory = Making(Bill, Book)
        dispatcher = DomainEventDispatcher(factory)

        class Eager(Pack):
            async def handle(self, event: Placed) -> None:
                async with dispatcher:
                    other = Order()
                    other.publish_event(Billed(number=2))
                    dispatcher.from_entity(other)
                await dispatcher.process()
                self.log.append("eager")

        factory.registry.add(Placed, Eager)
        dispatcher.from_entity(placed())
        asyncio.run(dispatcher.process())
        assert factory.log == ["bill 1", "eager", "book 1", "book 2"]

    def test_what_is_no_entity_is_refused(self) -> None:
        with pytest.raises(TypeError, match="derive it from Entity or AggregateRoot"):
            DomainEventDispatcher(Making()).from_entity(object())

    def test_a_circle_ends_with_its_chain(self) -> None:
        """Hole 6."""

        class Again(Pack):
            def handle(self, event: Placed) -> Event:
                return Placed(order=event.order)

        dispatcher = DomainEventDispatcher(Making(Again))
        dispatcher.from_entity(placed())
        with pytest.raises(EmitMisused, match=r"placed > compat_dispatcher.placed.*Break the circle"):
            dispatcher.process_sync()

    def test_half_events_are_refused(self) -> None:
        class Mixed(Pack):
            def handle(self, event: Placed) -> list[Any]:
                return [Billed(number=1), "done"]

        dispatcher = DomainEventDispatcher(Making(Mixed))
        dispatcher.store_event(Placed(order=Order()))
        with pytest.raises(NotAnEvent, match="Mixed returned events mixed with something else"):
            dispatcher.process_sync()

    def test_an_event_for_nobody_is_told_of(self, caplog: pytest.LogCaptureFixture) -> None:
        dispatcher = DomainEventDispatcher(Making())
        dispatcher.store_events([Lonely()])
        dispatcher.process_sync()
        assert "compat_dispatcher.lonely" in caplog.text
        assert "no handler is bound to it" in caplog.text


class TestContextManager:
    def test_it_processes_at_a_clean_end(self) -> None:
        factory = Making(Bill, Book)

        async def run() -> None:
            async with DomainEventDispatcher(factory) as dispatcher:
                dispatcher.from_entity(placed())
                assert factory.log == []

        asyncio.run(run())
        assert factory.log == ["bill 1", "book 1"]

    def test_and_not_after_an_error(self) -> None:
        factory, order = Making(Pack), placed()
        dispatcher = DomainEventDispatcher(factory)

        def fail() -> None:
            with dispatcher:
                dispatcher.from_entity(order)
                raise ValueError

        with pytest.raises(ValueError):
            fail()
        with dispatcher:
            pass  # it has forgotten the entity, which has its events still
        assert factory.log == []
        assert len(pending_events(order)) == 1

    def test_what_has_failed_is_not_tried_by_the_next_block(self) -> None:
        dispatcher, order = DomainEventDispatcher(Making(Failing)), placed()
        dispatcher.from_entity(order)
        with pytest.raises(RuntimeError, match="no paper"), dispatcher:
            pass
        with dispatcher:
            pass
        assert len(pending_events(order)) == 1

    def test_sync_runs_sync_handlers_and_refuses_others(self) -> None:
        factory, order = Making(Pack), placed()
        with DomainEventDispatcher(factory) as dispatcher:
            dispatcher.from_entity(order)
        assert factory.log == ["pack 1"]
        dispatcher = DomainEventDispatcher(Making(Bill))
        dispatcher.from_entity(placed())
        with pytest.raises(EmitMisused, match="async with dispatcher"), dispatcher:
            pass


def count(event: Billed) -> None: ...


@pytest.fixture
def events(system_name: str) -> Iterator[EventSystem]:
    system = EventSystem(system_name, broker_url="memory://", message_broker=InMemoryBroker())
    yield system
    system.close()


class TestWithSystem:
    def test_events_for_others_go_out_when_all_handlers_have_succeeded(self, events: EventSystem) -> None:
        seen: list[Event] = []

        @events.handler(Billed, in_transaction=True, name="compat_dispatcher.see")
        def see(event: Billed) -> None:
            seen.append(event)

        class Late(Pack):
            def handle(self, event: Billed) -> None:
                assert seen == []

        factory = Making(Book)
        factory.registry.add(Billed, Late)
        dispatcher = DomainEventDispatcher(factory, events)
        dispatcher.store_event(Billed(number=500))
        asyncio.run(dispatcher.process())
        assert [event.number for event in seen] == [500]
        assert factory.log == ["book 500"]  # and Told is with the message broker

    @pytest.mark.parametrize("holds", [False, True])
    def test_what_could_not_be_sent_is_the_entitys_again(self, holds: bool, system_name: str) -> None:
        """Hole 1: also where hold() sends when all is over."""
        events = EventSystem(system_name, broker_url="redis://127.0.0.1:1/0")
        events.bind(Billed, count, name="compat_dispatcher.count")
        order, factory = Order(), Making(Book)
        order.publish_event(Billed(number=1))

        async def run() -> None:
            async with events.hold() if holds else contextlib.nullcontext():
                async with DomainEventDispatcher(factory, events) as dispatcher:
                    dispatcher.from_entity(order)
            raise AssertionError("nothing was sent")

        with pytest.raises(EmitError):
            asyncio.run(run())
        assert factory.log == ["book 1"]
        assert len(pending_events(order)) == 1
        events.close()

    def test_its_handlers_are_loaded_before_it_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system_name: str
    ) -> None:
        (tmp_path / "compat_dispatcher_handlers.py").write_text("raise OSError('loaded')")
        monkeypatch.syspath_prepend(tmp_path)
        events = EventSystem(system_name, broker_url="memory://", handlers=["compat_dispatcher_handlers"])
        dispatcher = DomainEventDispatcher(Making(), events)
        dispatcher.store_event(Billed(number=1))
        with pytest.raises(HandlersNotLoaded, match="OSError: loaded"):
            dispatcher.process_sync()

    def test_an_integration_event_needs_it(self) -> None:
        dispatcher = DomainEventDispatcher(Making())
        dispatcher.store_event(Told(number=1))
        with pytest.raises(BrokerNotConfigured, match=r"DomainEventDispatcher\(factory, system=\.\.\.\)"):
            dispatcher.process_sync()

    def test_an_event_that_carries_an_entity_is_for_no_worker(self, events: EventSystem) -> None:
        with pytest.raises(BindError, match=r"carries an entity in its field 'order'.*in_transaction=True"):
            events.bind(Placed, Pack)
