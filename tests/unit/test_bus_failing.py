"""The bus on the broker without a server: failing handlers, bad input, faults and outages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from events_core import EmitError, GiveUp, Retry, RetryLater
from events_core.brokers import InMemoryBroker, IntegrationMessage, Received, Subscription
from events_core.brokers.dead import ERROR, REASON, ROUTING_KEY, TOPIC
from events_core.bus import EventBus, EventHandlerConsumer
from tests.support.bus import run, until
from tests.support.chatting import CHAT, KEY, Heard, Left, Said, SaidAnew, letters, rooms, say, to


class TestFailing:
    def fail(
        self, handler: Callable[..., Any], caplog: pytest.LogCaptureFixture, **options: Any
    ) -> tuple[Received, Any]:
        """What lies in the dead queue after one event, and the statistics."""
        found: list[Any] = []

        async def main() -> None:
            broker = InMemoryBroker()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(handler, **options)))
                await say(bus, "secret")
                await until(lambda: broker.waiting("chat.rooms.dead"))
                await until(lambda: not broker.waiting("chat.rooms"))
            found.extend((*letters(broker), bus.statistics["chat.rooms"]))

        run(main)
        assert "secret" not in caplog.text
        return found[0], found[1]

    def test_it_is_tried_again_and_then_dead_with_its_reason(self, caplog: pytest.LogCaptureFixture) -> None:
        attempts: list[str] = []

        async def handler(event: Said) -> None:
            attempts.append(event.text)
            raise ValueError(event.text)

        message, statistics = self.fail(handler, caplog)
        assert attempts == ["secret"] * 3
        assert (statistics.retried, statistics.failed, statistics.handled) == (2, 1, 0)
        assert message.headers[REASON] == "exhausted"
        assert message.headers[ERROR].endswith("handler: ValueError")
        assert message.headers[TOPIC] == "chat"
        assert message.headers[ROUTING_KEY] == KEY
        assert b"secret" in message.body
        assert message.type == "running.said"
        assert "in handler" in caplog.text  # where it failed

    def test_giving_up_is_no_attempt_more(self, caplog: pytest.LogCaptureFixture) -> None:
        def handler(event: Said) -> None:
            raise GiveUp(event.text)

        message, statistics = self.fail(handler, caplog)
        assert message.headers[REASON] == "gave_up"
        assert statistics.retried == 0

    def test_an_exception_that_is_not_to_be_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        def handler(event: Said) -> None:
            raise KeyError(event.text)

        message, statistics = self.fail(handler, caplog, retry=Retry(base=0.001, give_up_on=KeyError))
        assert (message.headers[REASON], statistics.retried) == ("gave_up", 0)

    def test_without_a_retry_it_is_dead_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        def handler(event: Said) -> None:
            raise ValueError

        assert self.fail(handler, caplog, retry=None)[1].retried == 0

    @pytest.mark.parametrize("error", [BaseException, GeneratorExit, BaseExceptionGroup("", [BaseException()])])
    def test_what_is_no_exception_is_a_failure_and_no_endless_loop(
        self, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        runs: list[str] = []

        def handler(event: Said) -> None:
            runs.append(event.text)
            raise error

        message, statistics = self.fail(handler, caplog)
        assert message.headers[REASON] in ("gave_up", "failed")
        assert (len(runs), statistics.failed, statistics.given_back) == (1, 1, 0)

    def test_something_cancelled_inside_is_a_failure(self, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(event: Said) -> None:
            await asyncio.get_running_loop().create_future().cancel() if False else None
            raise asyncio.CancelledError

        assert self.fail(handler, caplog)[0].headers[REASON] == "exhausted"

    def test_retry_later_counts_no_attempt(self) -> None:
        async def main() -> None:
            attempts: list[str] = []

            async def handler(event: Said) -> None:
                attempts.append(event.text)
                if len(attempts) <= 5:
                    raise RetryLater(0.001)

            broker = InMemoryBroker()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(handler)))
                await say(bus, "hello")
                await until(lambda: bus.statistics["chat.rooms"].handled == 1)
            assert len(attempts) == 6
            assert broker.waiting("chat.rooms.dead") == 0

        run(main)

    def test_only_the_handlers_that_failed_are_tried_again(self) -> None:
        async def main() -> None:
            ran: list[str] = []

            def fails_twice(event: Said) -> None:
                ran.append("fails")
                if ran.count("fails") < 3:
                    raise ValueError

            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(fails_twice, lambda event: ran.append("works"))))
                await say(bus, "hello")
                await until(lambda: bus.statistics["chat.rooms"].handled == 1)
            assert ran == ["fails", "works", "fails", "fails"]

        run(main)

    def test_the_next_events_are_handled_after_a_dead_one_and_in_order(self) -> None:
        async def main() -> None:
            heard = Heard()

            async def handler(event: Said) -> None:
                if event.text == "bad":
                    raise ValueError
                await heard(event)

            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(handler)))
                await say(bus, "one", "bad", "two", "three")
                await until(lambda: heard.texts == ["one", "two", "three"])

        run(main)

    def test_what_fails_on_an_own_queue_is_logged_and_gone(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            def handler(event: Said) -> None:
                raise ValueError

            broker = InMemoryBroker()
            async with EventBus(broker, "chat") as bus:
                consumer = EventHandlerConsumer("screens", {Said: [handler]}, every_instance=True, retry=None)
                await bus.register(to(consumer))
                (queue,) = bus.statistics
                await say(bus, "hello")
                await until(lambda: bus.statistics[queue].failed == 1)
            assert not [name for name in broker._queues if name.endswith(".dead")]

        run(main)
        assert "is dead" in caplog.text

    def test_a_consumer_whose_handlers_cannot_be_told_fails_and_does_not_stop_the_queue(self) -> None:
        class Broken(EventHandlerConsumer):
            def handlers_of(self, event: Any) -> Sequence[Callable[[Any], Any]]:
                if event.text == "bad":
                    raise ValueError
                return super().handlers_of(event)

        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(Broken("rooms", {Said: [heard]})))
                await say(bus, "bad", "good")
                await until(lambda: heard.texts == ["good"])
                await until(lambda: broker.waiting("chat.rooms.dead") == 1)

        run(main)

    def test_nothing_is_acknowledged_before_the_dead_queue_has_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("events_core.bus.settling._PAUSE", 0.05)

        class NoDead(InMemoryBroker):
            down = True
            refused = 0

            def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
                if self.down and messages[0].topic.endswith(".dead"):
                    self.refused += 1
                    raise EmitError("down", unsent=[message.delivery for message in messages])
                super().publish(messages, timeout)

        async def main() -> None:
            def handler(event: Said) -> None:
                raise GiveUp

            broker = NoDead()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(handler)))
                await say(bus, "hello")
                await until(lambda: broker.refused >= 2)
            assert broker.waiting("chat.rooms") == 1  # given back
            broker.down = False
            async with bus:
                await until(lambda: broker.waiting("chat.rooms.dead") == 1)
            assert broker.waiting("chat.rooms") == 0

        run(main)


class TestBadInput:
    def test_garbage_is_kept_with_its_reason_and_the_good_ones_are_handled(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            async with EventBus(broker, "chat", max_event_bytes=2000) as bus:
                await bus.register(to(rooms(heard)))
                await say(bus, "one")
                for number in range(100):
                    broker.put("chat", b"\xff%d" % number, KEY)
                broker.put("chat", b"x" * 2001, KEY)
                await say(bus, "two")
                await bus.send(CHAT, SaidAnew(text="of a newer version"))
                await until(lambda: heard.texts == ["one", "two"])
                await until(lambda: broker.waiting("chat.rooms.dead") == 102)
                assert bus.statistics["chat.rooms"].refused == {"undecodable": 100, "oversize": 1, "unknown_event": 1}
            assert broker.waiting("chat.rooms") == 0
            found = {message.body: message.headers[REASON] for message in letters(broker)}
            assert found[b"\xff7"] == "undecodable"

        run(main)
        assert caplog.text.count("are refused") < 100  # a line for each batch

    def test_a_type_that_nobody_asked_for_is_skipped(self) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard)))
                bus_of_others = EventBus(broker, "others")
                await bus_of_others.send(CHAT, Left(name="ann"))
                broker.put("chat", broker.published[0].body, KEY)  # under a key that the queue is bound to
                await until(lambda: bus.statistics["chat.rooms"].skipped == 1)
            assert broker.waiting("chat.rooms") == broker.waiting("chat.rooms.dead") == 0

        run(main)


class TestFaults:
    def test_a_fault_in_the_receiving_thread_is_told_and_it_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "events_core.bus")

        class Faulty(InMemoryBroker):
            faults = 0

            def receiver(self, subscription: Subscription, prefetch: int = 100) -> Any:
                receiver = super().receiver(subscription, prefetch)
                acknowledge = receiver.acknowledge

                def once(messages: Sequence[Received]) -> None:
                    self.faults += 1
                    if self.faults == 1:
                        raise ZeroDivisionError
                    acknowledge(messages)

                receiver.acknowledge = once  # type: ignore[method-assign]
                return receiver

        async def main() -> None:
            broker, heard = Faulty(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard)))
                await say(bus, "hello")
                await until(lambda: heard.texts == ["hello", "hello"])  # not acknowledged: it comes again
                await until(lambda: bus.statistics["chat.rooms"].connected)
            assert bus.statistics["chat.rooms"].outages == 1
            assert broker.waiting("chat.rooms") == 0

        run(main)
        assert caplog.text.count("receiving failed, trying again: ZeroDivisionError") == 1
        assert caplog.text.count("receives again") == 1

    def test_an_outage_is_logged_once_and_tried_again_at_growing_intervals(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("events_core.bus.outage._FIRST_PAUSE", 0.001)
        monkeypatch.setattr("events_core.bus.outage._LONGEST_PAUSE", 0.01)
        caplog.set_level(logging.INFO, "events_core.bus")

        class Down(InMemoryBroker):
            down = False
            looks = 0

            def receiver(self, subscription: Subscription, prefetch: int = 100) -> Any:
                receiver = super().receiver(subscription, prefetch)
                receive = receiver.receive

                def look(timeout: float) -> list[Received]:
                    if self.down:
                        self.looks += 1
                        raise ConnectionError("down")
                    return receive(min(timeout, 0.01))

                receiver.receive = look  # type: ignore[method-assign]
                return receiver

        async def main() -> None:
            broker, heard = Down(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard)))
                broker.down = True
                await until(lambda: broker.looks >= 5)
                assert not bus.statistics["chat.rooms"].connected
                broker.down = False
                await say(bus, "hello")
                await until(lambda: heard.texts == ["hello"])

        run(main)
        assert caplog.text.count("the broker does not answer, trying again: ConnectionError: down") == 1
        assert caplog.text.count("receives again, after") == 1
