"""capture(system): what is emitted is kept and not sent; everything before that is the real thing."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from events_core import (
    BrokerNotConfigured,
    ConfigurationError,
    DomainEvent,
    EventSystem,
    GroupCompleted,
    NotificationEvent,
)
from events_core.brokers import ExchangeBroker
from events_core.bus import Topic
from events_core.errors import EventDefinitionError, EventTooLarge
from events_core.mediator import Mediator, Request, RequestHandler, RequestMap
from events_core.processor import EventProcessor
from events_core.testing import capture


class Sold(DomainEvent, event_type="testing_capturing.sold"):
    number: int = 0


class Noted(DomainEvent, event_type="testing_capturing.noted"):
    number: int = 0


class Unheard(DomainEvent, event_type="testing_capturing.unheard"):
    number: int = 0


class Anything(DomainEvent, event_type="testing_capturing.anything"):
    value: Any = None


class Shipped(NotificationEvent, event_type="testing_capturing.shipped", topic="parcels"):
    number: int = 0


class Counted(GroupCompleted, event_type="testing_capturing.counted"): ...


def made(name: str = "captured", **options: Any) -> EventSystem:
    """A system without a broker: whatever is sent raises ConfigurationError."""
    system = EventSystem(name, message_broker=ExchangeBroker("amqp://nowhere.invalid"), **options)

    @system.handler(Sold, name=f"{name}.one")
    def one(event: Sold) -> None: ...

    @system.handler(Sold, name=f"{name}.two", queue="mail")
    async def two(event: Sold) -> None: ...

    @system.handler(Anything, name=f"{name}.any")
    def any_(event: Anything) -> None: ...

    return system


def test_events_are_kept_in_the_order_of_emission_whoever_hears_them() -> None:
    system = made()
    sold, unheard, shipped = Sold(number=1), Unheard(number=2), Shipped(number=3)
    with capture(system) as events:
        first, second, third = system.emit_many([sold, unheard, shipped])
        assert events.emitted == [sold, unheard, shipped]
        assert [(d.handler, d.event, d.queue) for d in events.deliveries] == [
            ("captured.one", sold, "captured.events"),
            ("captured.two", sold, "mail"),
        ]
        assert [(m.topic, m.routing_key) for m in events.messages] == [
            ("parcels", "notification_event.testing_capturing.shipped")
        ]
    assert [len(emission.deliveries) for emission in (first, second, third)] == [2, 0, 0]


async def _emit(system: EventSystem) -> None:
    await system.aemit(Sold(number=1))
    await system.aemit_many([Shipped(number=2), Unheard(number=3), Sold(number=4)])
    await asyncio.gather(*(system.aemit(Shipped(number=number)) for number in (5, 6)))


def test_aemit_is_captured_in_order_and_starts_no_thread() -> None:
    system = made()
    before = threading.active_count()
    with capture(system) as events:
        asyncio.run(_emit(system))
        assert [event.number for event in events.emitted] == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_another_thread_emits_is_captured() -> None:
    system = made()
    with capture(system) as events:
        thread = threading.Thread(target=system.emit, args=(Sold(),))
        thread.start()
        thread.join()
        assert len(events.of(Sold)) == 1


def test_an_event_emitted_twice_counts_twice() -> None:
    system, sold = made(), Sold()
    with capture(system) as events:
        system.emit_many([sold, sold])
        system.emit(sold)
        assert events.emitted == [sold] * 3
        assert len(events.deliveries) == 6


def test_hold_sends_at_its_end_or_never() -> None:
    system = made()
    with capture(system) as events:
        with system.hold():
            system.emit(Sold())
            system.emit(Unheard())
            system.emit(Noted(), now=True)
            assert [type(event) for event in events.emitted] == [Noted]
        assert [type(event) for event in events.emitted] == [Noted, Sold, Unheard]
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            with system.hold():
                system.emit_many([Sold(), Unheard()])
                raise ZeroDivisionError
        assert len(events.emitted) == 3


def test_what_a_transaction_takes_is_emitted_with_its_commit() -> None:
    system, taken = made(), []

    def hook(send: Any) -> bool:
        taken.append(send)
        return True

    system.deliver_later = hook
    with capture(system) as events:
        system.emit(Sold())
        system.emit(Unheard())
        events.assert_nothing_emitted()
        for send in taken:
            send()
        assert [type(event) for event in events.emitted] == [Sold, Unheard]


def test_in_transaction_handlers_run_at_once_and_what_they_emit_joins() -> None:
    system = made()

    @system.handler(Noted, in_transaction=True, name="note")
    def note(event: Noted) -> list[DomainEvent]:
        if event.number < 0:
            raise ValueError("refused")
        system.emit(Unheard(number=event.number))
        return [Sold(number=event.number)]

    with capture(system) as events:
        system.emit(Noted(number=1))
        assert {type(event) for event in events.emitted} == {Noted, Unheard, Sold}
        assert events.emitted[0] == Noted(**events.emitted[0].model_dump())
        with pytest.raises(ValueError, match="refused"):
            system.emit(Noted(number=-1))
        assert len(events.emitted) == 3


def test_what_cannot_be_sent_fails_as_in_production() -> None:
    system = made(max_event_bytes=1000)
    alone = EventSystem("captured-alone")
    with capture(system) as events, capture(alone):
        with pytest.raises(EventDefinitionError, match="JSON"):
            system.emit(Anything(value=object()))
        with pytest.raises(EventTooLarge):
            system.emit(Anything(value="x" * 1000))
        with pytest.raises(BrokerNotConfigured):
            alone.emit(Shipped())
        events.assert_nothing_emitted()


def test_an_unhandled_event_is_warned_of_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    system = made()
    with capture(system), caplog.at_level(logging.WARNING):
        system.emit(Unheard())
    assert "no handler is bound to it" in caplog.text


def test_afterwards_the_system_is_as_before_also_when_the_test_failed() -> None:
    system = made()
    broker: Any = system.message_broker
    before = [{**vars(owner)} for owner in (system, system.emitter, broker)]
    with pytest.raises(KeyError):  # noqa: PT012
        with capture(system) as events:
            system.emit(Sold())
            raise KeyError
    assert [{**vars(owner)} for owner in (system, system.emitter, broker)] == [
        {**before[0], "_loaded": True},
        *before[1:],
    ]
    with pytest.raises(Exception, match="EVENTS_BROKER_URL"):
        system.emit(Sold())
    assert len(events.emitted) == 1


def test_closing_the_system_does_not_end_the_capture() -> None:
    """As the shutdown of an application under test does."""
    system = made()
    with capture(system) as events:
        system.close()
        system.emit(Sold())
        assert system.emit_group([Sold()], max_parallel=1).progress().total == 2
        assert len(events.emitted) == 2


def test_several_systems_are_captured_apart_and_one_inside_itself() -> None:
    shop, billing = made("shop-captured"), made("billing-captured")
    with capture(shop) as of_shop, capture(billing) as of_billing:
        shop.emit(Sold(number=1))
        with capture(shop) as inner:
            shop.emit(Sold(number=2))
        shop.emit(Sold(number=3))
        billing.emit(Sold(number=4))
        assert [event.number for event in of_shop.of(Sold)] == [1, 3]
        assert [event.number for event in inner.of(Sold)] == [2]
        assert [event.number for event in of_billing.of(Sold)] == [4]


def test_a_group_is_captured_and_can_be_asked() -> None:
    system = made()
    with capture(system) as events:
        group = system.emit_group((Sold(number=n) for n in range(3)), max_parallel=2, on_complete=Counted)
        assert [event.number for event in events.of(Sold)] == [0, 1, 2]
        assert (group.progress().total, group.progress().waiting, group.progress().state) == (6, 6, "running")
        assert system.group(group.id).progress() == group.progress()
        with pytest.raises(LookupError):
            system.group("unknown").progress()
        with pytest.raises(RuntimeError, match=r"call events\.run\(\)"):
            group.wait()
        group.cancel()
        assert (group.progress().cancelled, events.deliveries) == (6, [])


def test_events_of_a_group_are_emitted_also_where_nobody_hears_them() -> None:
    system = made()
    with capture(system) as events:
        given = [Unheard(number=0), Sold(number=1), Unheard(number=2)]
        group = system.emit_group(given, max_parallel=1)
        assert events.emitted == given
        assert group.progress().total == 2
        events.run()
        assert group.progress().done == 2


def test_what_a_bus_sends_is_captured() -> None:
    system = made()
    with capture(system) as events:
        asyncio.run(system.bus().send(Topic("parcels"), Shipped(number=1)))
        assert [event.number for event in events.of(Shipped)] == [1]


def test_what_a_mediator_emits_is_captured() -> None:
    system = made()

    class Sell(Request): ...

    class SellHandler(RequestHandler[Sell, None]):
        def handle(self, request: Sell) -> None:
            self.events.append(Sold(number=1))

    requests = RequestMap()
    requests.bind(Sell, SellHandler)
    with capture(system) as events:
        Mediator(requests, event_emitter=system.emitter).send(Sell())
        Mediator(requests, event_emitter=system.emitter, event_processor=EventProcessor(system)).send(Sell())
        assert [event.number for event in events.of(Sold)] == [1, 1]
        assert {run.outcome for run in events.run()} == {"done"}


def test_signals_before_publishing_are_sent() -> None:
    """Sentry and OpenTelemetry hang there, and what they add to headers goes along."""
    from celery.signals import before_task_publish

    system, heard = made(), []

    def receiver(sender: str, headers: dict[str, Any], **_: Any) -> None:
        heard.append(sender)

    before_task_publish.connect(receiver)
    try:
        with capture(system):
            system.emit(Sold())
    finally:
        before_task_publish.disconnect(receiver)
    assert heard == ["captured.one", "captured.two"]


def test_clear_forgets_what_the_setup_emitted() -> None:
    system = made()
    with capture(system) as events:
        system.emit_many([Sold(), Shipped()])
        assert events.deliveries
        events.clear()
        assert (events.emitted, events.deliveries, events.messages, events.run()) == ([], [], [], [])


def test_captures_that_overlap_end_in_any_order() -> None:
    """As in two threads: the one that ends last is still one, and afterwards the system sends again."""
    system = made()
    first, second = ExitStack(), ExitStack()
    first.enter_context(capture(system))
    events = second.enter_context(capture(system))
    first.close()
    system.emit(Sold(number=1))
    assert len(events.emitted) == 1
    second.close()
    with pytest.raises(ConfigurationError):
        system.emit(Sold(number=2))
