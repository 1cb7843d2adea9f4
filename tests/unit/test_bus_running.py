"""The bus on the broker without a server: what reaches which handler, when it is acknowledged, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from events_core.brokers import InMemoryBroker, Subscription
from events_core.bus import Consumer, EventBus, EventHandlerConsumer, Topic
from events_core.errors import EventTooLarge, NotAnEvent
from tests.support.bus import run, until
from tests.support.chatting import CHAT, KEY, Heard, Left, Said, rooms, say, to


class TestHearing:
    def test_each_event_reaches_its_handlers_once_and_in_order(self) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard)))
                await say(bus, *map(str, range(500)))
                await until(lambda: len(heard.texts) >= 500)
            assert heard.texts == [*map(str, range(500))]
            assert broker.waiting("chat.rooms") == 0
            assert bus.statistics["chat.rooms"].handled == 500

        run(main)

    @pytest.mark.parametrize("times", [1, 2, 3])
    @pytest.mark.parametrize("late", [0, 1, 2])
    def test_registering_again_before_or_after_startup_delivers_once(self, times: int, late: int) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            bus = EventBus(broker, "chat")
            for number in range(times):
                if number == late:
                    await bus.startup()
                await bus.register(to(rooms(heard)))
            await bus.startup()
            await bus.startup()
            await say(bus, "hello", "bye")
            await until(lambda: "bye" in heard.texts)
            await bus.shutdown()
            await bus.shutdown()
            assert heard.texts == ["hello", "bye"]

        run(main)

    def test_handlers_run_on_the_loop_that_the_bus_was_started_on(self) -> None:
        async def main() -> None:
            seen: list[tuple[threading.Thread, asyncio.AbstractEventLoop]] = []

            def sync(event: Said) -> None:
                seen.append((threading.current_thread(), asyncio.get_running_loop()))

            async def coroutine(event: Said) -> None:
                sync(event)

            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(sync, coroutine)))
                await say(bus, "hello")
                await until(lambda: len(seen) == 2)
            assert set(seen) == {(threading.current_thread(), asyncio.get_running_loop())}

        run(main)

    def test_what_a_handler_sets_in_its_context_is_not_seen_by_the_next(self) -> None:
        async def main() -> None:
            user = contextvars.ContextVar("user", default="nobody")
            seen: list[str] = []

            def handler(event: Said) -> None:
                seen.append(user.get())
                user.set(event.text)

            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(handler)))
                await say(bus, "ann", "bob", "eve")
                await until(lambda: len(seen) == 3)
            assert seen == ["nobody"] * 3

        run(main)

    def test_a_consumer_of_ones_own(self) -> None:
        class Mine(Consumer):
            def __init__(self) -> None:
                super().__init__("mine")
                self.texts: list[str] = []

            async def on_event(self, event: Any) -> None:
                self.texts.append(event.text)

        async def main() -> None:
            mine = Mine()
            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(mine))
                await say(bus, "hello")
                await until(lambda: mine.texts == ["hello"])

        run(main)

    def test_a_handler_may_send(self) -> None:
        async def main() -> None:
            heard = Heard()
            async with EventBus(InMemoryBroker(), "chat") as bus:

                async def answer(event: Said) -> None:
                    await bus.send(CHAT, Left(name=f"{event.text} is gone"))

                await bus.register(to(EventHandlerConsumer("rooms", {Said: [answer], Left: [heard]}), Said, Left))
                await say(bus, "ann")
                await until(lambda: heard.texts == ["ann is gone"])

        run(main)

    def test_consumers_of_one_queue_share_and_two_queues_each_get_all(self) -> None:
        async def main() -> None:
            broker = InMemoryBroker()
            one, other, everyone = Heard(), Heard(), [Heard(), Heard()]
            async with EventBus(broker, "chat") as first, EventBus(broker, "chat") as second:
                for bus, heard, own in ((first, one, everyone[0]), (second, other, everyone[1])):
                    await bus.register(to(rooms(heard, prefetch=1)))
                    await bus.register(to(EventHandlerConsumer("screens", {Said: [own]}, every_instance=True)))
                texts = [str(number) for number in range(200)]
                await say(first, *texts)
                await until(lambda: len(one.texts) + len(other.texts) >= 200)
                await until(lambda: all(len(own.texts) >= 200 for own in everyone))
                assert sorted(one.texts + other.texts, key=int) == texts
                assert [own.texts for own in everyone] == [texts, texts]

        run(main)

    def test_an_own_queue_goes_with_its_instance(self) -> None:
        async def main() -> None:
            broker = InMemoryBroker()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(EventHandlerConsumer("screens", {Said: [Heard()]}, every_instance=True)))
                (queue,) = bus.statistics
                assert queue in broker._queues
            assert queue not in broker._queues

        run(main)

    def test_a_durable_queue_keeps_what_comes_while_nobody_is_there(self) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            bus = EventBus(broker, "chat")
            await bus.register(to(rooms(heard)))
            async with bus:
                pass
            await say(bus, "while you were away")
            async with bus:
                await until(lambda: heard.texts == ["while you were away"])

        run(main)


class TestChanging:
    def test_what_is_no_longer_in_the_list_is_unbound(self) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard), Said, Left))
                await bus.register(to(rooms(heard), Left))
                await say(bus, "hello")
                await bus.send(CHAT, Left(name="ann"))
                await until(lambda: heard.texts == ["ann"])
                assert broker._queues["chat.rooms"].bindings == {("chat", "notification_event.running.left")}
                assert bus.statistics["chat.rooms"].received == 1

        run(main)

    def test_unregistering_stops_one_topic_and_the_queue_with_its_last(self) -> None:
        async def main() -> None:
            broker, heard = InMemoryBroker(), Heard()
            mail = Topic("mail")
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard)))
                await bus.register(to(rooms(heard), topic=mail))
                await bus.unregister(to(rooms(heard)))
                await bus.unregister(to(rooms(heard)))
                await say(bus, "chat")
                await say(bus, "mail", topic=mail)
                await until(lambda: heard.texts == ["mail"])
                await bus.unregister(to(rooms(heard), topic=mail))
                await say(bus, "nobody", topic=mail)
            assert broker._queues["chat.rooms"].bindings == set()
            assert heard.texts == ["mail"]
            assert broker.waiting("chat.rooms") == 0

        run(main)

    def test_a_new_consumer_of_a_topic_takes_the_place_of_the_old(self) -> None:
        async def main() -> None:
            old, new = Heard(), Heard()
            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(old)))
                await bus.register(to(rooms(new)))
                await say(bus, "hello")
                await until(lambda: new.texts == ["hello"])
            assert old.texts == []

        run(main)

    def test_a_change_that_the_broker_refuses_changes_nothing(self) -> None:
        class Down(InMemoryBroker):
            down = False

            def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
                if self.down:
                    raise ConnectionError("down")
                super().declare(subscription, obsolete)

        async def main() -> None:
            broker, heard = Down(), Heard()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(heard), Said))
                broker.down = True
                with pytest.raises(ConnectionError):
                    await bus.register(to(rooms(heard), Left))
                with pytest.raises(ConnectionError):
                    await bus.unregister(to(rooms(heard)))
                await say(bus, "still here")
                await until(lambda: heard.texts == ["still here"])

        run(main)

    def test_a_startup_that_fails_leaves_nothing_running(self) -> None:
        class Down(InMemoryBroker):
            def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
                if subscription.queue == "chat.second":
                    raise ConnectionError("down")
                super().declare(subscription, obsolete)

        async def main() -> None:
            bus = EventBus(Down(), "chat")
            await bus.register(to(rooms(Heard())))
            await bus.register(to(EventHandlerConsumer("second", {Said: [Heard()]})))
            with pytest.raises(ConnectionError):
                await bus.startup()
            await until(lambda: not [thread for thread in threading.enumerate() if "events-bus" in thread.name])

        run(main)


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_never_more_at_once_than_asked_for_and_no_fewer(self, concurrency: int) -> None:
        async def main() -> None:
            running: set[str] = set()
            most: list[int] = []
            go = asyncio.Event()

            async def handler(event: Said) -> None:
                running.add(event.text)
                most.append(len(running))
                await go.wait()
                running.discard(event.text)

            async with EventBus(InMemoryBroker(), "chat") as bus:
                await bus.register(to(rooms(handler, concurrency=concurrency)))
                await say(bus, *map(str, range(20)))
                await until(lambda: len(running) == concurrency)
                go.set()
                await until(lambda: len(most) == 20)
            assert max(most) == concurrency

        run(main)

    def test_behind_a_slow_handler_no_more_than_prefetch_is_taken(self) -> None:
        async def main() -> None:
            broker, go = InMemoryBroker(), asyncio.Event()

            async def handler(event: Said) -> None:
                await go.wait()

            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(handler, prefetch=10)))
                await say(bus, *map(str, range(50)))
                await until(lambda: bus.statistics["chat.rooms"].received == 10)
                assert broker.waiting("chat.rooms") == 40
                go.set()
                await until(lambda: bus.statistics["chat.rooms"].handled == 50)

        run(main)

    def test_what_is_done_is_acknowledged_while_the_next_one_runs(self) -> None:
        """Else a crash would repeat all that was done before the slow one."""

        async def main() -> None:
            broker, go = InMemoryBroker(), asyncio.Event()

            async def handler(event: Said) -> None:
                if event.text == "slow":
                    await go.wait()

            async with EventBus(broker, "chat") as bus:
                await bus.register(to(rooms(handler)))
                await say(bus, "quick", "slow")
                await until(lambda: bus.statistics["chat.rooms"].handled == 1)
                go.set()

        run(main)


class TestShutdown:
    def test_what_runs_is_finished_and_the_rest_given_back(self) -> None:
        async def main() -> None:
            broker, go, began = InMemoryBroker(), asyncio.Event(), asyncio.Event()
            done: list[str] = []

            async def handler(event: Said) -> None:
                began.set()
                await go.wait()
                done.append(event.text)

            bus = EventBus(broker, "chat")
            await bus.register(to(rooms(handler)))
            await bus.startup()
            await say(bus, *map(str, range(10)))
            await began.wait()
            await until(lambda: bus.statistics["chat.rooms"].received == 10)
            ending = asyncio.create_task(bus.shutdown())
            await until(lambda: bus.statistics["chat.rooms"].given_back == 9)
            go.set()
            await ending
            assert done == ["0"]
            assert broker.waiting("chat.rooms") == 9
            async with bus:
                await until(lambda: len(done) == 10)
            assert done == [*map(str, range(10))]

        run(main)

    def test_a_handler_that_takes_too_long_is_cancelled_and_its_event_comes_again(self) -> None:
        async def main() -> None:
            broker, began = InMemoryBroker(), asyncio.Event()
            ended: list[str] = []

            async def handler(event: Said) -> None:
                began.set()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    ended.append(event.text)

            bus = EventBus(broker, "chat", shutdown_timeout=0.05)
            await bus.register(to(rooms(handler)))
            async with bus:
                await say(bus, "hello")
                await began.wait()
            assert ended == ["hello"]
            assert broker.waiting("chat.rooms") == 1
            assert bus.statistics["chat.rooms"].failed == 0

        run(main)

    def test_a_loop_that_ends_without_shutdown_loses_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = InMemoryBroker()

        async def main() -> None:
            bus = EventBus(broker, "chat")

            async def handler(event: Said) -> None:
                await asyncio.get_running_loop().create_future()

            await bus.register(to(rooms(handler)))
            await bus.startup()
            await say(bus, *map(str, range(5)))
            await until(lambda: bus.statistics["chat.rooms"].received == 5)

        run(main)
        run(lambda: until(lambda: broker.waiting("chat.rooms") == 5))
        assert "the event loop was closed without shutdown()" in caplog.text


class TestSending:
    def test_what_cannot_be_sent_is_refused(self) -> None:
        async def main() -> None:
            bus = EventBus(InMemoryBroker(), "chat", max_event_bytes=500)
            with pytest.raises(NotAnEvent):
                await bus.send(CHAT, "hello")  # type: ignore[arg-type]
            with pytest.raises(EventTooLarge, match="more than max_event_bytes"):
                await bus.send(CHAT, Said(text="x" * 500))

        run(main)

    def test_the_topic_of_the_call_counts(self) -> None:
        async def main() -> None:
            broker = InMemoryBroker()
            await EventBus(broker, "chat").send(Topic("other"), Said(text="hello"))
            assert [(message.topic, message.routing_key) for message in broker.published] == [("other", KEY)]

        run(main)

    def test_the_services_name_is_its_source(self) -> None:
        broker = InMemoryBroker()
        EventBus(broker, "chat")
        assert broker.source == "/chat"

    def test_a_broker_that_belongs_to_a_system_keeps_its_source(self) -> None:
        broker = InMemoryBroker()
        broker.attach("shop", lambda: "")
        EventBus(broker, "chat")
        assert broker.source == "/shop"
