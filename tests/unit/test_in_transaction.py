"""Handlers with in_transaction=True: during emit, in the caller's thread, before anything is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from events_core import BindError, DomainEvent, Event, EventHandler, EventSystem, Retry
from events_core.entities import AggregateRoot
from events_core.errors import EmitMisused, EventTooLarge, NotAnEvent
from events_core.in_transaction import instances
from events_core.publishing.messages import Message


class Placed(DomainEvent, event_type="intx.placed"):
    number: int = 0


class Invoiced(DomainEvent, event_type="intx.invoiced"):
    number: int = 0


class Booked(DomainEvent, event_type="intx.booked"):
    number: int = 0


class Order(AggregateRoot):
    pass


class Completed(DomainEvent, event_type="intx.completed"):
    order: Order


class Shop:
    """A system whose broker is a list, and what its handlers did."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.sent: list[list[str]] = []
        self.events = EventSystem("intx", broker_url="redis://localhost:1/0", max_hops=3, max_event_bytes=500)
        self.events._publisher = self
        for event in (Placed, Invoiced, Booked):
            self.events.bind(event, lambda event: None, name=f"later.{event.event_type}")

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        self.did.append("sent")
        self.sent.append([message.delivery.handler.removeprefix("later.intx.") for message in messages])

    def close(self) -> None: ...

    def inside(self, event: type[Event] | str, handler: Any, name: str = "inside") -> None:
        self.events.bind(event, handler, name=name, in_transaction=True)


@pytest.fixture
def shop() -> Shop:
    return Shop()


class TestRunning:
    def test_in_the_caller_s_thread_before_anything_is_sent(self, shop: Shop) -> None:
        def invoice(event: Placed) -> None:
            shop.did.append((threading.get_ident(), event.number))

        shop.inside(Placed, invoice)
        emission = shop.events.emit(Placed(number=7))
        assert shop.did == [(threading.get_ident(), 7), "sent"]
        assert [delivery.handler for delivery in emission.deliveries] == ["later.intx.placed"]

    def test_its_error_is_the_caller_s_and_nothing_is_sent(self, shop: Shop) -> None:
        """Of the whole batch: the caller rolls back, and none of it has happened."""

        def refuse(event: Placed) -> None:
            raise KeyError(event.number)

        shop.inside(Placed, refuse)
        with pytest.raises(KeyError):
            shop.events.emit_many([Invoiced(), Placed()])
        assert shop.sent == []

    def test_a_bad_event_is_told_before_any_of_them_runs(self, shop: Shop) -> None:
        class Long(DomainEvent, event_type="intx.long"):
            text: str

        shop.events.bind(Long, lambda event: None, name="long")
        shop.inside(Placed, shop.did.append)
        with pytest.raises(EventTooLarge):
            shop.events.emit_many([Placed(), Long(text="x" * 1000)])
        assert shop.did == []

    def test_without_any_other_handler_nothing_is_sent_and_nobody_warns(
        self, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Alone(DomainEvent, event_type="intx.alone"):
            pass

        shop.inside(Alone, lambda event: shop.did.append("alone"))
        assert shop.events.emit(Alone()).deliveries == ()
        assert shop.did == ["alone"]
        assert not caplog.records

    def test_bases_patterns_and_bind_order(self, shop: Shop) -> None:
        shop.inside("intx.*", lambda event: shop.did.append("pattern"), "a")
        shop.inside(Placed, lambda event: shop.did.append("class"), "b")
        shop.inside(DomainEvent, lambda event: shop.did.append("base"), "c")
        shop.events.emit(Placed())
        assert shop.did == ["pattern", "class", "base", "sent"]

    def test_a_class_is_made_by_the_container_or_by_whoever_dispatches(self, shop: Shop) -> None:
        class Invoice(EventHandler[Placed]):
            def __init__(self, where: str = "container") -> None:
                self.where = where

            def handle(self, event: Placed) -> None:
                shop.did.append(self.where)

        shop.inside(Placed, Invoice)
        shop.events.emit(Placed())
        token = instances.set(lambda wanted: wanted("dispatcher"))
        shop.events.emit(Placed())
        instances.reset(token)
        assert shop.did == ["container", "sent", "dispatcher", "sent"]


class TestWhatFollows:
    def test_first_in_first_out_in_one_batch(self, shop: Shop) -> None:
        """Breadth first, as python-cqrs's users know it, whether an event is returned or emitted."""

        def invoice(event: Placed) -> list[Event]:
            shop.did.append(f"placed {event.number}")
            return [Invoiced(number=event.number), Booked(number=event.number)]

        def book(event: Invoiced) -> None:
            shop.did.append(f"invoiced {event.number}")
            shop.events.emit(Booked(number=event.number * 10))

        shop.inside(Placed, invoice, "invoice")
        shop.inside(Invoiced, book, "book")
        shop.inside(Booked, lambda event: shop.did.append(f"booked {event.number}"), "count")
        shop.events.emit_many([Placed(number=1), Placed(number=2)])
        assert shop.did == [
            "placed 1", "placed 2", "invoiced 1", "booked 1", "invoiced 2", "booked 2", "booked 10", "booked 20", "sent"
        ]  # fmt: skip
        assert shop.sent == [["placed", "placed", "invoiced", "booked", "invoiced", "booked", "booked", "booked"]]

    def test_they_belong_to_one_chain(self, shop: Shop) -> None:
        bodies: list[Any] = []
        shop.publish = lambda messages, timeout: bodies.extend(m.body for m in messages)  # type: ignore[method-assign]
        shop.inside(Placed, lambda event: Invoiced())
        placed = Placed()
        shop.events.emit(placed)
        assert b'"hops":1' in bodies[1]
        assert f'"causation_id":"{placed.event_id}"'.encode() in bodies[1]
        assert all(f'"correlation_id":"{placed.event_id}"'.encode() in body for body in bodies)

    def test_a_circle_ends(self, shop: Shop) -> None:
        """Hole 6: with an error, and nothing sent."""
        shop.inside(Placed, lambda event: Invoiced(), "one")
        shop.inside(Invoiced, lambda event: Placed(), "two")
        with pytest.raises(EmitMisused, match=r"MAX_HOPS \(3\)"):
            shop.events.emit(Placed())
        assert shop.sent == []

    def test_now_does_not_join(self, shop: Shop) -> None:
        shop.inside(Placed, lambda event: shop.events.emit(Booked(), now=True) and None)
        shop.events.emit(Placed())
        assert shop.sent == [["booked"], ["placed"]]

    def test_mixed_returns_are_refused(self, shop: Shop) -> None:
        shop.inside(Placed, lambda event: [Invoiced(), "text"])
        with pytest.raises(NotAnEvent, match="inside returned events mixed with something else"):
            shop.events.emit(Placed())

    def test_what_is_emitted_now_belongs_to_the_chain_too(self, shop: Shop) -> None:
        """So that a circle of such events ends with the error that names it."""
        shop.inside(Placed, lambda event: shop.events.emit(Placed(), now=True) and None)
        with pytest.raises(EmitMisused, match=r"MAX_HOPS \(3\)"):
            shop.events.emit(Placed())

    def test_in_a_held_block_they_run_at_once(self, shop: Shop) -> None:
        shop.inside(Placed, lambda event: shop.did.append("ran"))
        with shop.events.hold():
            shop.events.emit(Placed())
            assert shop.did == ["ran"]
        assert shop.did == ["ran", "sent"]


class TestAsync:
    def test_with_aemit_on_the_caller_s_loop_and_context(self, shop: Shop) -> None:
        session: ContextVar[str] = ContextVar("session")

        async def invoice(event: Placed) -> list[Event]:
            await asyncio.sleep(0)
            shop.did.append((session.get(), asyncio.get_running_loop()))
            return [Booked()]

        shop.inside(Placed, invoice, "async")
        shop.inside(Placed, lambda event: shop.did.append("sync"), "sync")

        async def main() -> None:
            session.set("mine")
            await shop.events.aemit(Placed())
            assert shop.did == [("mine", asyncio.get_running_loop()), "sync", "sent"]
            shop.events.close()

        asyncio.run(main())
        assert shop.sent == [["placed", "booked"]]

    def test_with_emit_it_is_refused_and_nothing_is_sent(self, shop: Shop) -> None:
        async def invoice(event: Placed) -> None: ...

        shop.inside(Placed, invoice)
        with pytest.raises(EmitMisused, match=r"inside is async .* await aemit"):
            shop.events.emit(Placed())
        assert shop.sent == []

    def test_two_requests_keep_what_follows_apart(self, shop: Shop) -> None:
        """Hole 4, for concurrent emissions on one loop."""

        async def invoice(event: Placed) -> None:
            await asyncio.sleep(0)
            await shop.events.aemit(Booked(number=event.number))
            await asyncio.sleep(0)
            if event.number == 2:
                raise KeyError

        shop.inside(Placed, invoice)

        async def main() -> None:
            results = await asyncio.gather(
                *(shop.events.aemit(Placed(number=number)) for number in (1, 2)), return_exceptions=True
            )
            assert [type(result).__name__ for result in results] == ["Emission", "KeyError"]
            shop.events.close()

        asyncio.run(main())
        assert shop.sent == [["placed", "booked"]]


def test_each_has_a_copy_of_its_own(shop: Shop) -> None:
    """Hole 9: what one does to a list in it, neither the next one nor a worker sees."""

    class Filled(DomainEvent, event_type="intx.filled"):
        items: list[int]

    shop.inside(Filled, lambda event: event.items.clear(), "first")
    shop.inside(Filled, lambda event: shop.did.append(event.items), "second")
    event = Filled(items=[1])
    shop.events.emit(event)
    assert shop.did == [[1]]
    assert event.items == [1]


class TestEntities:
    def test_an_event_with_one_reaches_such_a_handler_with_the_same_object(self, shop: Shop) -> None:
        shop.inside(Completed, lambda event: shop.did.append(event.order))
        order = Order()
        shop.events.emit(Completed(order=order))
        assert shop.did[0] is order

    def test_any_other_handler_is_refused_when_it_is_bound(self, shop: Shop) -> None:
        with pytest.raises(BindError, match=r"Completed carries an entity in its field 'order'.*in_transaction=True"):
            shop.events.bind(Completed, lambda event: None, name="elsewhere")

    def test_one_that_is_bound_by_pattern_is_refused_when_it_is_emitted(self, shop: Shop) -> None:
        shop.events.bind("intx.compl*", lambda event: None, name="elsewhere")
        shop.inside(Completed, shop.did.append)
        with pytest.raises(BindError, match="elsewhere"):
            shop.events.emit(Completed(order=Order()))
        assert shop.did == []

    def test_the_events_of_one_are_kept_when_its_transaction_fails(self, shop: Shop) -> None:
        """Hole 1."""

        def refuse(event: Placed) -> None:
            raise KeyError

        shop.inside(Placed, refuse)
        order = Order()
        order.publish_event(Placed(number=3))
        with pytest.raises(KeyError):
            shop.events.emit_many(order.pop_events())
        [kept] = order.pop_events()
        assert isinstance(kept, Placed)


@pytest.mark.parametrize(
    "options", [{"queue": "mail"}, {"retry": Retry(max_attempts=2)}, {"timeout": 3}, {"ordered_by": "number"}]
)
def test_options_that_would_do_nothing_are_refused(shop: Shop, options: dict[str, Any]) -> None:
    with pytest.raises(BindError, match=next(iter(options))):
        shop.events.bind(Placed, lambda event: None, name="x", in_transaction=True, **options)


def test_a_group_refuses_such_events(shop: Shop) -> None:
    shop.inside(Placed, lambda event: None)
    with pytest.raises(BindError, match="which a group cannot run"):
        shop.events.emitter.messages_of(Placed(), None, "group")
