"""The bus on real servers: what it promises does not depend on the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Self

import kombu
import pytest

from events_core import GiveUp
from events_core.brokers import (
    ExchangeBroker,
    IntegrationMessage,
    MessageBroker,
    Received,
    RedisPubSubBroker,
    RedisStreamBroker,
    Subscription,
)
from events_core.brokers.dead import ERROR, REASON, ROUTING_KEY, TOPIC
from events_core.bus import EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic
from events_core.bus.dead import Dead, DeadQueue
from events_core.envelope import Envelope
from tests.apps.chat import CHAT, Left, Said
from tests.support.broker_queues import connection, take_all
from tests.support.bus import run, until
from tests.support.redis_server import connect
from tests.support.waiting import wait_until

MakeBroker = Callable[[], MessageBroker]
DEAD = "chat.rooms.dead"


@pytest.fixture(
    params=[
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("redis-stream", marks=pytest.mark.redis),
    ]
)
def make_broker(request: pytest.FixtureRequest) -> MakeBroker:
    """Makes message brokers that keep events, on one empty server."""
    if request.param == "rabbitmq":
        url = request.getfixturevalue("amqp_url")
        return lambda: ExchangeBroker(url)
    url = request.getfixturevalue("redis_url")
    return (lambda: ExchangeBroker(url)) if request.param == "redis" else (lambda: RedisStreamBroker(url))


class Heard:
    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, event: Any) -> None:
        self.texts.append(event.text if isinstance(event, Said) else event.name)


def to(*events: Any, topic: Topic = CHAT, by: Heard, **options: Any) -> IntegrationEventBusRegistration:
    consumer = EventHandlerConsumer("rooms", {Said: [by], Left: [by]}, **options)
    return IntegrationEventBusRegistration(consumer, topic, events or (Said,))


async def say(bus: EventBus, *texts: str) -> None:
    await asyncio.gather(*(bus.send(CHAT, Said(text=text)) for text in texts))


TEXTS = [str(number) for number in range(300)]


class TestHearing:
    def test_all_events_once_and_in_order(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            heard = Heard()
            bus = EventBus(make_broker(), "chat")
            await bus.register(to(by=heard))
            async with bus:
                await bus.register(to(by=heard))
                await say(bus, *TEXTS)
                await until(lambda: len(heard.texts) >= len(TEXTS))
            assert heard.texts == TEXTS

        run(main)

    def test_instances_share_the_durable_queue_and_each_hears_all_by_its_own(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            shared, own = [Heard(), Heard()], [Heard(), Heard()]
            async with EventBus(make_broker(), "chat") as one, EventBus(make_broker(), "chat") as other:
                for number, bus in enumerate((one, other)):
                    await bus.register(to(by=shared[number], prefetch=1))
                    screens = EventHandlerConsumer("screens", {Said: [own[number]]}, every_instance=True)
                    await bus.register(IntegrationEventBusRegistration(screens, CHAT, [Said]))
                await say(one, *TEXTS)
                await until(lambda: sum(len(heard.texts) for heard in shared) >= len(TEXTS))
                await until(lambda: all(len(heard.texts) >= len(TEXTS) for heard in own))
            assert sorted(shared[0].texts + shared[1].texts, key=int) == TEXTS
            assert shared[0].texts
            assert shared[1].texts
            assert [heard.texts for heard in own] == [TEXTS, TEXTS]

        run(main)

    def test_a_durable_queue_keeps_what_comes_while_nobody_is_there(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            heard = Heard()
            bus = EventBus(make_broker(), "chat")
            await bus.register(to(by=heard))
            async with bus:
                pass
            await say(EventBus(make_broker(), "other"), *TEXTS)
            async with bus:
                await until(lambda: len(heard.texts) >= len(TEXTS))
            assert heard.texts == TEXTS

        run(main)


class TestChanging:
    def test_the_list_of_events_may_change_while_it_runs(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            heard = Heard()
            async with EventBus(make_broker(), "chat") as bus:
                await bus.register(to(Said, by=heard))
                await bus.register(to(Said, Left, by=heard))
                await bus.send(CHAT, Left(name="ann"))
                await until(lambda: heard.texts == ["ann"])
                await bus.register(to(Left, by=heard))
                await say(bus, "nobody hears this")
                await bus.send(CHAT, Left(name="bob"))
                await until(lambda: heard.texts == ["ann", "bob"])
                assert bus.statistics["chat.rooms"].received == 2  # it was not even sent to us

        run(main)

    def test_what_an_earlier_process_was_bound_to_is_unbound(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            heard = Heard()
            async with EventBus(make_broker(), "chat") as bus:
                await bus.register(to(Said, Left, by=heard))
            async with EventBus(make_broker(), "chat") as bus:
                await bus.register(to(Left, by=heard))
                await say(bus, "nobody hears this")
                await bus.send(CHAT, Left(name="bob"))
                await until(lambda: heard.texts == ["bob"])
                assert bus.statistics["chat.rooms"].received == 1

        run(main)

    def test_another_topic_may_join_and_leave(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            heard, mail = Heard(), Topic("mail")
            async with EventBus(make_broker(), "chat") as bus:
                await bus.register(to(by=heard))
                await bus.register(to(by=heard, topic=mail))
                await bus.send(mail, Said(text="mail"))
                await until(lambda: heard.texts == ["mail"])
                await bus.unregister(to(by=heard, topic=mail))
                await bus.send(mail, Said(text="no more"))
                await say(bus, "chat")
                await until(lambda: heard.texts == ["mail", "chat"])

        run(main)


class TestDead:
    def test_it_lies_in_the_dead_queue_as_it_came(self, make_broker: MakeBroker) -> None:
        async def main() -> None:
            def give_up(event: Said) -> None:
                raise GiveUp

            broker = make_broker()
            consumer = EventHandlerConsumer("rooms", {Said: [give_up]})
            async with EventBus(broker, "chat") as bus:
                await bus.register(IntegrationEventBusRegistration(consumer, CHAT, [Said]))
                await say(bus, "one", "two")
                await until(lambda: bus.statistics["chat.rooms"].failed == 2)
                one, two = await asyncio.to_thread(letters, make_broker(), 2)
            assert (b"one" in one.body, b"two" in two.body) == (True, True)
            assert one.headers[REASON] == "gave_up"
            assert str(one.headers[ERROR]).endswith("give_up: GiveUp")
            assert broker.format.decode(one).type == "chat.said"

        run(main)

    def test_garbage_among_good_ones_is_accounted_for(
        self, make_broker: MakeBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            heard, broker = Heard(), make_broker()
            async with EventBus(broker, "chat") as bus:
                await bus.register(to(by=heard))
                for number, text in enumerate(TEXTS):
                    await say(bus, text)
                    if number % 3 == 0:
                        await asyncio.to_thread(broker.publish, [garbage(broker)], 5.0)
                await until(lambda: heard.texts == TEXTS)
                await until(lambda: bus.statistics["chat.rooms"].refused.total() == 100)
                found = await asyncio.to_thread(letters, make_broker(), 100)
            assert {message.body for message in found} == {b"\xff garbage"}

        run(main)


class Counting(ExchangeBroker):
    """Counts declarations: each takes a connection of its own."""

    declared = 0

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.declared += 1
        super().declare(subscription, obsolete)


def test_burying_declares_nothing_and_makes_a_deleted_dead_queue_anew(broker_url: str) -> None:
    async def main() -> None:
        def give_up(event: Said) -> None:
            raise GiveUp

        broker, other = Counting(broker_url), ExchangeBroker(broker_url)
        async with EventBus(broker, "chat") as bus:
            consumer = EventHandlerConsumer("rooms", {Said: [give_up]}, prefetch=1)
            await bus.register(IntegrationEventBusRegistration(consumer, CHAT, [Said]))
            begun = broker.declared
            await say(bus, *TEXTS[:20])
            await until(lambda: bus.statistics["chat.rooms"].failed == 20)
            await asyncio.to_thread(letters, other, 20)
            await asyncio.to_thread(other.delete, Subscription(DEAD, frozenset({(DEAD, "#")})))
            await say(bus, "one", "two")
            await until(lambda: bus.statistics["chat.rooms"].failed == 22)
            assert broker.declared == begun
        found = letters(other, 2)
        assert [str(message.headers[REASON]) for message in found] == ["gave_up", "gave_up"]
        assert bus.statistics["chat.rooms"].outages == 0

    run(main)


def test_messages_without_ids_are_told_apart_when_the_dead_queue_is_gone(broker_url: str) -> None:
    """What comes back from a deleted queue is known by its id."""
    broker = ExchangeBroker(broker_url)
    queue = DeadQueue(broker, "chat.rooms")
    for _ in range(2):
        queue.declare()
        dead = [Dead(Received(b"%d" % number), "undecodable", "") for number in range(3)]
        assert queue.add(dead, 10) == (dead, None)
        broker.delete(Subscription(DEAD, frozenset({(DEAD, "#")})))
        assert queue.add(dead, 10) == (dead, None)
        assert [message.body for message in letters(broker, 3)] == [b"0", b"1", b"2"]
    broker.close()


def garbage(broker: MessageBroker) -> IntegrationMessage:
    """What some other program may publish where our events go."""
    event = Said(text="")
    message = broker.message(event, Envelope.of(event), CHAT.name)
    message.body = b"\xff garbage"
    message.envelope.data = b""
    return message


def letters(broker: MessageBroker, number: int) -> list[Received]:
    """That many messages of the dead queue."""
    receiver = broker.receiver(Subscription(DEAD, frozenset({(DEAD, "#")})), 1000)
    found: list[Received] = []
    try:
        while len(found) < number and (more := receiver.receive(10)):
            found += more
    finally:
        receiver.close()
    assert len(found) == number
    return found


def test_on_rabbitmq_any_program_can_read_the_dead_queue(amqp_url: str) -> None:
    async def main() -> None:
        def give_up(event: Said) -> None:
            raise GiveUp

        async with EventBus(ExchangeBroker(amqp_url), "chat") as bus:
            consumer = EventHandlerConsumer("rooms", {Said: [give_up]})
            await bus.register(IntegrationEventBusRegistration(consumer, CHAT, [Said]))
            await say(bus, "hello")
            await until(lambda: bus.statistics["chat.rooms"].failed == 1)

    run(main)
    with kombu.Connection(amqp_url) as connection:
        message = connection.default_channel.basic_get(DEAD)
        assert message.headers[REASON] == "gave_up"
        assert message.content_type == "application/cloudevents+json"


class Refusing:
    """A bus that has heard everything, and handled nothing."""

    def __init__(self, broker: MessageBroker) -> None:
        self.seen: list[tuple[str, str]] = []
        self.bus = EventBus(broker, "chat", shutdown_timeout=1)

    def refuse(self, event: Said) -> None:
        self.seen.append((str(event.event_id), event.occurred_at.isoformat()))
        raise GiveUp

    async def __aenter__(self) -> Self:
        consumer = EventHandlerConsumer("rooms", {Said: [self.refuse]})
        await self.bus.register(IntegrationEventBusRegistration(consumer, CHAT, [Said]))
        await self.bus.startup()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.bus.shutdown()


FLAT = b'{"type":"chat.said","version":1,"text":"hello"}'
SAID = "notification_event.chat.said"


def send(url: str, exchange: str, routing_key: str, body: bytes, **properties: Any) -> None:
    """As any program does it, with kombu alone."""
    content = {"content_type": "application/json", "content_encoding": "utf-8"}
    with connection(url) as opened:
        opened.Producer().publish(body, exchange=exchange, routing_key=routing_key, **content, **properties)


def take_dead(url: str) -> kombu.Message:
    """The one message that is dead."""
    (message,) = wait_until(lambda: take_all(url, DEAD), what="a dead message")
    return message


def put_back(url: str, *, to_queue: str | None = None) -> None:
    """What is dead, as docs/bus.md tells: to where its headers say, or straight to a queue."""
    message = take_dead(url)
    exchange, routing_key = ("", to_queue) if to_queue else (message.headers[TOPIC], message.headers[ROUTING_KEY])
    properties = {name: message.properties[name] for name in ("message_id", "timestamp", "type")}
    send(url, exchange, routing_key, message.body, headers=message.headers, **properties)


@pytest.mark.parametrize("message_id", ["bank-9", "", "018f0000-0000-7000-8000-000000000000"])
def test_what_is_put_back_is_the_same_event_of_the_same_time(broker_url: str, message_id: str) -> None:
    """To its topic: whatever its id is. Straight to its queue: where the id does not depend on the topic."""

    async def main() -> None:
        properties: dict[str, Any] = {"timestamp": 1_700_000_000, "headers": {"tenant": "north"}}
        if message_id:
            properties["message_id"] = message_id
        async with Refusing(ExchangeBroker(broker_url, format="flat")) as refusing:
            await asyncio.to_thread(send, broker_url, "chat", SAID, FLAT, **properties)
            await asyncio.to_thread(put_back, broker_url)
            await asyncio.to_thread(put_back, broker_url, to_queue="chat.rooms")
            letter = await asyncio.to_thread(take_dead, broker_url)
        assert (letter.headers["tenant"], letter.headers[TOPIC], letter.headers[ROUTING_KEY]) == ("north", "chat", SAID)
        first, by_topic, by_queue = refusing.seen
        assert first[1] == "2023-11-14T22:13:20+00:00"
        assert by_topic == first
        assert (by_queue == first) == (len(message_id) == 36)
        assert by_queue[1] == first[1]

    run(main)


def dead_entry(client: Any, stream: str) -> dict[bytes, bytes]:
    """The fields of the one that is there; empty while there is none."""
    return next((fields for _, fields in client.xrange(stream) if TOPIC.encode() in fields), {})


@pytest.mark.parametrize("stream_name", [None, "all"])
@pytest.mark.parametrize("format", ["record", "cloudevents", "classic", "flat"])
def test_an_entry_of_a_stream_is_put_back_as_the_same_event(redis_url: str, format: Any, stream_name: Any) -> None:
    """By XADD, with the fields that docs/bus.md names."""

    async def main() -> None:
        event = Said(text="hello")
        async with Refusing(RedisStreamBroker(redis_url, format=format, stream_name=stream_name)) as refusing:
            with connect(redis_url) as client:
                await refusing.bus.send(CHAT, event)
                fields = await until(lambda: dead_entry(client, stream_name or DEAD), what="a dead entry")
                topic = fields[TOPIC.encode()]
                names = (b"event_id", b"event_type", b"body", b"content_type")
                kept = {name: fields[name] for name in names} | ({b"topic": topic} if stream_name else {})
                client.xadd(stream_name or topic, kept)
                await until(lambda: len(refusing.seen) == 2)
        first, again = refusing.seen
        assert first[0] == again[0] == str(event.event_id)
        assert (first[1] == again[1]) == (format != "flat")

    run(main)


class TestPubSub:
    def test_every_instance_hears_what_is_said_while_it_is_there(self, redis_url: str) -> None:
        async def main() -> None:
            heard = [Heard(), Heard()]
            async with (
                EventBus(RedisPubSubBroker(redis_url), "chat") as one,
                EventBus(RedisPubSubBroker(redis_url), "chat") as other,
            ):
                await one.register(to(by=heard[0], every_instance=True))
                await other.register(to(by=heard[1], every_instance=True))
                await say(one, *TEXTS)
                await until(lambda: all(len(each.texts) >= len(TEXTS) for each in heard))
                await one.register(to(Said, Left, by=heard[0], every_instance=True))
                await other.send(CHAT, Left(name="ann"))
                await until(lambda: heard[0].texts == [*TEXTS, "ann"])
            assert heard[1].texts == TEXTS

        run(main)


@pytest.mark.rabbitmq
def test_startup_tells_that_the_broker_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        bus = EventBus(ExchangeBroker("amqp://127.0.0.1:1//"), "chat")
        await bus.register(to(by=Heard()))
        with pytest.raises(OSError, match="RabbitMQ cannot be reached"):
            await bus.startup()
        await bus.shutdown()

    caplog.set_level(logging.INFO)
    run(main)
