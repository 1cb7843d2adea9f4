"""Running captured deliveries inline. That it does what a worker does: tests/integration/test_inline_worker.py."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from celery import Celery

from events_core import (
    DomainEvent,
    ECSTEvent,
    EventHandler,
    EventSystem,
    GiveUp,
    Limit,
    NotificationEvent,
    Rate,
    Retry,
    RetryLater,
)
from events_core.brokers import ExchangeBroker
from events_core.secret import Secret
from events_core.testing import CapturedEvents, capture


class Order(DomainEvent, event_type="testing_running.order"):
    number: int = 0


class Bill(DomainEvent, event_type="testing_running.bill"):
    number: int = 0


class Stock(ECSTEvent, event_type="testing_running.stock", topic="store", entity_key="item", entity_version="revision"):
    item: str
    revision: int


class Sent(NotificationEvent, event_type="testing_running.sent", topic="post"):
    number: int = 0


@pytest.fixture
def system() -> EventSystem:
    return EventSystem("testing-running", message_broker=ExchangeBroker("amqp://nowhere.invalid"))


@pytest.fixture
def events(system: EventSystem) -> Iterator[CapturedEvents]:
    with capture(system) as captured:
        yield captured


class TestOrder:
    def test_breadth_first_in_the_order_of_emission(self, system: EventSystem, events: CapturedEvents) -> None:
        @system.handler(Order, name="a")
        def a(event: Order) -> Bill:
            return Bill(number=event.number)

        @system.handler(Order, name="b")
        def b(event: Order) -> None: ...

        @system.handler(Bill, name="c")
        def c(event: Bill) -> None: ...

        system.emit_many([Order(number=1), Order(number=2)])
        ran = [(run.handler, run.event.number) for run in events.run()]  # type: ignore[attr-defined]
        assert ran == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 1), ("c", 2)]
        assert events.deliveries == []

    def test_middleware_wraps_each_run(self) -> None:
        seen: list[Any] = []

        def middleware(event: Any, handle: Any) -> Any:
            seen.append(event.number)
            return handle(event)

        system = EventSystem("testing-running-wrapped", middleware=[middleware])
        system.bind(Order, lambda event: Bill(number=2), name="order")
        system.bind(Bill, lambda event: None, name="bill")
        with capture(system) as events:
            system.emit(Order(number=1))
            events.run()
        assert seen == [1, 2]

    def test_limits_and_rates_let_everything_pass(self, system: EventSystem, events: CapturedEvents) -> None:
        @system.handler(Order, name="limited", limit=[Limit("smtp", 1, key="number"), Rate("api", 1, per=60)])
        def limited(event: Order) -> None: ...

        system.emit_many([Order(number=1), Order(number=1)])
        assert [run.outcome for run in events.run()] == ["done", "done"]

    def test_newer_versions_only(self, system: EventSystem, events: CapturedEvents) -> None:
        seen = []

        @system.subscriber(events=[Stock], latest_only=True, name="stock")
        def stock(event: Stock) -> None:
            seen.append(event.revision)

        for revision in (1, 3, 2):
            events.receive(Stock(item="x", revision=revision))
        events.run()
        assert seen == [1, 3]


class TestClock:
    def bind(self, system: EventSystem, **options: Any) -> None:
        @system.handler(Order, name="flaky", **options)
        def flaky(event: Order) -> None:
            raise ConnectionError("down")

    def test_retries_wait_for_the_clock(self, system: EventSystem, events: CapturedEvents) -> None:
        """The default Retry has jitter: here the delays are its longest ones."""
        self.bind(system, retry=Retry(max_attempts=3, base=10.0))
        system.emit(Order())
        (first,) = events.run()
        assert (first.outcome, first.again_in, str(first.error)) == ("retry", 10.0, "down")
        (waiting,) = events.deliveries
        assert (waiting.attempt, waiting.due_in) == (2, 10.0)
        events.clock.advance(9.5)
        assert events.run() == []
        assert events.deliveries[0].due_in == 0.5
        events.clock.advance(0.5)
        assert [(run.outcome, run.again_in, run.attempt) for run in events.run()] == [("retry", 20.0, 2)]
        assert [run.outcome for run in events.run_until_idle()] == ["dead"]
        assert events.clock.now == 30.0

    def test_a_dead_letter_tells_reason_exception_and_starts(self, system: EventSystem, events: CapturedEvents) -> None:
        self.bind(system, retry=None)
        order = Order(number=4711)
        system.emit(order)
        events.run()
        (dead,) = events.dead
        assert (dead.handler, dead.event, dead.reason, dead.starts) == ("flaky", order, "exhausted", 1)
        assert isinstance(dead.exception, ConnectionError)
        assert dead.exception.__traceback__ is not None
        assert repr(dead) == "<flaky of Order(number=4711): exhausted after 1 starts: down>"

    def test_secrets_are_in_no_repr(self, system: EventSystem, events: CapturedEvents) -> None:
        class Login(DomainEvent, event_type="testing_running.login"):
            password: Annotated[str, Secret]

        def fails(event: Login) -> None:
            raise ValueError(f"wrong: {event.password}")

        system.bind(Login, fails, name="fails", retry=None)
        system.emit(Login(password="canary-in-a-test"))
        shown = repr(events.deliveries) + repr(events.run()) + repr(events.dead) + repr(events)
        assert "canary" not in shown
        assert shown.count("Login(password='***')") == 3

    def test_time_goes_forward(self, events: CapturedEvents) -> None:
        with pytest.raises(ValueError, match="forward"):
            events.clock.advance(-1)

    def test_what_never_ends_is_told(
        self, system: EventSystem, events: CapturedEvents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("events_worker.inline.worker._MOST", 50)

        @system.handler(Order, name="again")
        def again(event: Order) -> None:
            raise RetryLater(0)

        system.emit(Order())
        with pytest.raises(RuntimeError, match="50 runs, the last of again"):
            events.run()


class TestEndings:
    def test_an_interrupt_and_a_failure_of_pytest_end_the_test(
        self, system: EventSystem, events: CapturedEvents
    ) -> None:
        """Although a worker would take either for a failed attempt, as it does here with SystemExit."""
        errors: list[BaseException] = [SystemExit(1), KeyboardInterrupt(), pytest.fail.Exception("out of time")]

        @system.handler(Order, name="ends")
        def ends(event: Order) -> None:
            raise errors[event.number]

        system.emit_many([Order(number=number) for number in range(3)])
        with pytest.raises(KeyboardInterrupt):
            events.run()
        with pytest.raises(pytest.fail.Exception):
            events.run()
        assert [(waiting.attempt, waiting.event) for waiting in events.deliveries][:1] == [(2, events.emitted[0])]

    def test_a_sync_handler_is_ended_in_time_and_the_tests_own_timer_goes_on(
        self, system: EventSystem, events: CapturedEvents
    ) -> None:
        """pytest-timeout waits by the same timer of the process."""

        @system.handler(Order, name="sleeps", timeout=0.05, retry=None)
        def sleeps(event: Order) -> None:
            threading.Event().wait(60)

        before = signal.getitimer(signal.ITIMER_REAL)[0]
        signal.setitimer(signal.ITIMER_REAL, 100)
        try:
            system.emit(Order())
            events.run()
            assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] < 100
        finally:
            signal.setitimer(signal.ITIMER_REAL, before)
        assert type(events.dead[0].exception).__name__ == "HandlerTimeout"


class TestHandle:
    def test_it_returns_what_the_handler_did(self, system: EventSystem, events: CapturedEvents) -> None:
        @system.handler(Order, name="bills")
        def bills(event: Order) -> list[Bill]:
            system.emit(Sent(number=event.number))
            return [Bill(number=event.number)]

        handled = events.handle(bills, Order(number=1))
        assert (handled.outcome, handled.returned) == ("done", [Bill(**handled.returned[0].model_dump())])
        assert {type(event) for event in handled.emitted} == {Bill, Sent}
        assert events.assert_emitted(Bill).number == 1
        assert events.of(Order) == []
        assert events.handle("bills", Order(number=2)).handler == "bills"

    def test_it_raises_what_the_handler_raises_and_forgets_it(
        self, system: EventSystem, events: CapturedEvents
    ) -> None:
        @system.handler(Order, name="refuses", fallback=lambda event: None)
        def refuses(event: Order) -> None:
            system.emit(Bill())
            raise GiveUp("no stock")

        with pytest.raises(GiveUp, match="no stock"):
            events.handle(refuses, Order())
        assert (events.dead, events.emitted, events.deliveries) == ([], [], [])

    def test_classes_get_what_they_ask_for(self, system: EventSystem, events: CapturedEvents) -> None:
        class Till:
            paid = 0

        class Pays(EventHandler[Order]):
            def __init__(self, till: Till) -> None:
                self.till = till

            async def handle(self, event: Order) -> Any:
                Till.paid += event.number

        Pays.__init__.__annotations__["till"] = Till
        system.bind(Order, Pays, name="pays")
        events.handle(Pays, Order(number=3))
        assert Till.paid == 3

    def test_one_in_the_callers_transaction(self, system: EventSystem, events: CapturedEvents) -> None:
        @system.handler(Order, name="inside", in_transaction=True)
        async def inside(event: Order) -> Bill:
            return Bill(number=event.number)

        async def main() -> None:
            handled = await events.ahandle(inside, Order(number=1))
            assert [handled.outcome, *handled.emitted] == ["done", *events.of(Bill)]

        asyncio.run(main())
        with pytest.raises(Exception, match="await aemit"):
            events.handle(inside, Order())

    def test_a_handler_that_is_not_bound(self, system: EventSystem, events: CapturedEvents) -> None:
        system.bind(Order, lambda event: None, name="known")
        with pytest.raises(LookupError, match=r"unknown is no handler of 'testing-running'.*Bound are: known"):
            events.handle("unknown", Order())

    def test_an_event_that_json_cannot_hold(self, system: EventSystem, events: CapturedEvents) -> None:
        """It fails here as it would in production, although it is not emitted."""

        class Odd(DomainEvent, event_type="testing_running.odd"):
            value: Any

        system.bind(Odd, lambda event: None, name="odd")
        with pytest.raises(Exception, match="JSON"):
            events.handle("odd", Odd(value=object()))


class TestLoops:
    async def _run(self, system: EventSystem, events: CapturedEvents) -> tuple[list[Any], Any]:
        here: list[Any] = []

        @system.handler(Order, name="coroutine", retry=Retry(max_attempts=2, base=5.0))
        async def coroutine(event: Order) -> Bill:
            here.append(asyncio.get_running_loop())
            if len(here) == 1:
                raise ConnectionError
            return Bill()

        @system.handler(Bill, name="function")
        def function(event: Bill) -> None:
            here.append(threading.current_thread())

        await system.aemit(Order())
        runs = await events.arun_until_idle()
        assert [run.outcome for run in runs] == ["retry", "done", "done"]
        handled = await events.ahandle(coroutine, Order())
        assert len(handled.emitted) == 1
        return here, asyncio.get_running_loop()

    def test_async_handlers_run_on_the_loop_of_an_async_test(self, system: EventSystem, events: CapturedEvents) -> None:
        here, loop = asyncio.run(self._run(system, events))
        assert here[0] is here[1] is here[3] is loop
        assert here[2] is not threading.main_thread()

    def test_in_a_sync_test_they_run_on_the_process_s_loop(self, system: EventSystem, events: CapturedEvents) -> None:
        @system.handler(Order, name="coroutine")
        async def coroutine(event: Order) -> None:
            await asyncio.sleep(0)

        system.emit(Order())
        assert [run.outcome for run in events.run()] == ["done"]

    @pytest.mark.parametrize("name", ["run", "run_until_idle", "handle"])
    def test_a_call_that_would_block_the_loop_is_refused(self, name: str, events: CapturedEvents) -> None:
        async def main() -> None:
            getattr(events, name)(*(["h", Order()] if name == "handle" else []))

        with pytest.raises(RuntimeError, match=rf"use `await events\.a{name}\("):
            asyncio.run(main())


class TestReceiving:
    def test_a_subscriber_gets_another_services_event(self, system: EventSystem, events: CapturedEvents) -> None:
        seen = []

        @system.subscriber(events=[Sent], name="hears", retry=Retry(max_attempts=2))
        def hears(event: Sent) -> Bill:
            seen.append(event)
            if len(seen) == 1:
                raise ConnectionError
            return Bill(number=event.number)

        sent = Sent(number=1)
        assert [(d.handler, d.event) for d in events.receive(sent)] == [("hears", sent)]
        assert [run.outcome for run in events.run_until_idle()] == ["retry", "done"]
        assert events.of(Sent) == []
        assert events.assert_emitted(Bill, number=1)

    def test_the_same_event_twice_is_handled_once(self, system: EventSystem, events: CapturedEvents) -> None:
        system.subscriber(events=[Sent], name="once")(lambda event: None)
        sent = Sent()
        events.receive(sent)
        events.receive(sent)
        assert [run.outcome for run in events.run()] == ["done", "settled"]

    def test_one_that_nobody_hears_is_told(self, system: EventSystem, events: CapturedEvents) -> None:
        with pytest.raises(LookupError, match=r"nobody in 'testing-running' is subscribed to testing_running\.sent"):
            events.receive(Sent())
        system.subscriber(events=[Sent], name="hears")(lambda event: None)
        with pytest.raises(LookupError, match="on topic 'elsewhere'"):
            events.receive(Sent(), topic="elsewhere")


def test_a_celery_task_of_the_applications_is_run_by_celery(events: CapturedEvents, system: EventSystem) -> None:
    app, seen = Celery("testing-running"), []

    @app.task(name="testing_running.plain")
    def plain(number: int) -> None:
        seen.append(number)
        if number == 2:
            raise ValueError("two")

    system.bind(Order, plain, args=lambda event: (event.number,), queue="celery")
    system.emit_many([Order(number=1), Order(number=2)])
    assert [run.outcome for run in events.run()] == ["done", "failed"]
    assert seen == [1, 2]
