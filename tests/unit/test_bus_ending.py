"""How the bus ends: cancelled in the middle, shut down while handlers run; and what it leaves: nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from events_core.brokers import InMemoryBroker, Received, Subscription
from events_core.bus import EventBus, EventHandlerConsumer
from events_core.publishing.batcher import Batcher
from tests.support.bus import run, until
from tests.support.chatting import Heard, Said, rooms, say, to


def threads(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


class Slow(InMemoryBroker):
    """Declares when it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.asked.set()
        assert self.go_on.wait(30)
        super().declare(subscription, obsolete)


class TestCancelled:
    @pytest.mark.parametrize("late", [False, True], ids=["startup", "register"])
    def test_what_was_cancelled_hears_nothing_and_may_be_done_again(self, late: bool) -> None:
        async def main() -> None:
            broker, running, most = Slow(), set[str](), [0]

            async def handler(event: Said) -> None:
                running.add(event.text)
                most[0] = max(most[0], len(running))
                await asyncio.sleep(0)
                running.discard(event.text)

            bus = EventBus(broker, "chat")
            registration = to(rooms(handler))
            if late:
                await bus.startup()
            else:
                await bus.register(registration)
            broker.go_on.clear()
            begin = bus.register(registration) if late else bus.startup()
            beginning = asyncio.create_task(begin)  # type: ignore[arg-type]
            await asyncio.to_thread(broker.asked.wait, 30)
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning
            broker.go_on.set()
            await until(lambda: not threads("events-bus"), what="the thread to end by itself")
            assert not bus.statistics["chat.rooms"].connected
            await say(bus, *map(str, range(50)))
            await (bus.register(registration) if late else bus.startup())
            assert len(threads("events-bus")) == 1
            assert bus.statistics["chat.rooms"].connected
            await until(lambda: bus.statistics["chat.rooms"].handled == 50)
            assert most == [1]
            await bus.shutdown()
            assert not bus.statistics["chat.rooms"].connected

        run(main)

    def test_one_that_ends_late_does_not_speak_for_its_successor(self) -> None:
        async def main() -> None:
            broker, heard = Slow(), Heard()
            bus = EventBus(broker, "chat")
            await bus.register(to(rooms(heard)))
            broker.go_on.clear()
            beginning = asyncio.create_task(bus.startup())
            await asyncio.to_thread(broker.asked.wait, 30)
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning
            again = asyncio.create_task(bus.startup())
            await until(lambda: len(threads("events-bus")) == 2)
            broker.go_on.set()
            await again
            await until(lambda: len(threads("events-bus")) == 1)
            assert bus.statistics["chat.rooms"].connected
            await say(bus, "hello")
            await until(lambda: heard.texts == ["hello"])
            await bus.shutdown()

        run(main)

    def test_a_bus_whose_shutdown_was_cancelled_can_be_started_again(self) -> None:
        async def main() -> None:
            began, go = asyncio.Event(), asyncio.Event()

            async def handler(event: Said) -> None:
                began.set()
                await go.wait()

            bus = EventBus(InMemoryBroker(), "chat")
            await bus.register(to(rooms(handler)))
            await bus.startup()
            await say(bus, "one")
            await began.wait()
            ending = asyncio.create_task(bus.shutdown())
            await asyncio.sleep(0)
            ending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ending
            go.set()
            async with bus:
                await say(bus, "two")
                await until(lambda: bus.statistics["chat.rooms"].handled == 2)
                await until(lambda: len(threads("events-bus")) == 1)
            await until(lambda: not threads("events-bus"))

        run(main)


class Watched(InMemoryBroker):
    """Counts how often its receivers are asked."""

    asked = 0

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Any:
        receiver = super().receiver(subscription, prefetch)
        receive = receiver.receive

        def count(timeout: float) -> list[Received]:
            self.asked += 1
            return receive(min(timeout, 0.01))

        receiver.receive = count  # type: ignore[method-assign]
        return receiver


def test_while_handlers_finish_the_connection_is_kept_alive_and_what_comes_late_is_not_lost() -> None:
    """RabbitMQ gives up a connection that nobody reads for a while: all that runs would come again elsewhere."""

    async def main() -> None:
        broker, began, go = Watched(), asyncio.Event(), asyncio.Event()

        async def handler(event: Said) -> None:
            began.set()
            await go.wait()

        bus = EventBus(broker, "chat")
        await bus.register(to(rooms(handler, prefetch=10)))
        await bus.startup()
        await say(bus, "one")
        await began.wait()
        ending = asyncio.create_task(bus.shutdown())
        await asyncio.sleep(0)  # it is told to stop
        before = broker.asked
        await until(lambda: broker.asked >= before + 5, what="somebody to ask while the handler runs")
        await say(bus, *map(str, range(20)))
        await until(lambda: broker.waiting("chat.rooms") == 11, what="it to hold no more than it may")
        go.set()
        await ending
        statistics = bus.statistics["chat.rooms"]
        assert (statistics.handled, broker.waiting("chat.rooms")) == (1, 20)

    run(main)


def test_an_own_queue_does_not_come_back_when_it_is_unregistered() -> None:
    async def main() -> None:
        broker = InMemoryBroker()
        screens = to(EventHandlerConsumer("screens", {Said: [Heard()]}, every_instance=True))
        async with EventBus(broker, "chat") as bus:
            await bus.register(screens)
            (queue,) = bus.statistics
            assert queue in broker._queues
            await bus.unregister(screens)
            assert queue not in broker._queues

    run(main)


class TestSendingThread:
    def test_it_ends_with_the_bus_and_comes_back_when_it_is_needed(self) -> None:
        async def main() -> None:
            broker = InMemoryBroker()
            bus = EventBus(broker, "chat")
            for number in range(3):
                await say(bus, str(number))
                assert len(threads("events-emit")) == 1 + before
                await bus.shutdown()
                assert len(threads("events-emit")) == before
            assert len(broker.published) == 3

        before = len(threads("events-emit"))
        run(main)

    def test_what_was_asked_for_still_goes_out(self) -> None:
        async def main() -> None:
            go, sent = threading.Event(), []

            def publish(messages: Any, timeout: float) -> None:
                assert go.wait(30)
                sent.extend(messages)

            batcher = Batcher(publish)
            one: Any = ["one"]
            sending = asyncio.create_task(batcher.publish(one, 30))
            await asyncio.sleep(0)
            closing = asyncio.create_task(asyncio.to_thread(batcher.close, 30))
            go.set()
            await asyncio.gather(sending, closing)
            assert sent == ["one"]
            assert batcher._thread is None

        run(main)

    def test_closing_waits_no_longer_than_it_may(self) -> None:
        async def main() -> None:
            go = threading.Event()

            def publish(messages: Any, timeout: float) -> None:
                assert go.wait(30)

            batcher = Batcher(publish)
            sending = asyncio.create_task(batcher.publish([], 30))
            await asyncio.sleep(0)
            await asyncio.to_thread(batcher.close, 0.01)
            assert batcher._thread is not None
            go.set()
            await sending
            await asyncio.to_thread(batcher.close, 30)
            assert batcher._thread is None

        run(main)
