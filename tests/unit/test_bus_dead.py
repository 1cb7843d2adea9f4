"""What the bus puts into a dead queue: everything once, even if the broker takes it in parts, late, or not at all."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from events_core import ConfigurationError, EmitError, GiveUp
from events_core.brokers import InMemoryBroker, IntegrationMessage, Received, Subscription
from events_core.brokers.dead import ERROR, REASON, ROUTING_KEY, TOPIC
from events_core.bus import EventBus
from events_core.bus.dead import Dead, DeadQueue
from tests.support.bus import run, until
from tests.support.chatting import KEY, Heard, Said, letters, rooms, say, to


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burial that failed is tried again soon."""
    monkeypatch.setattr("events_core.bus.settling._PAUSE", 0.02)
    monkeypatch.setattr("events_core.bus.receiving_thread._POLL", 0.01)


class Undeclared(InMemoryBroker):
    """Declaring the dead queue fails a few times."""

    failures = 0
    error: Exception = ConnectionError("a blip")

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        if self.failures and subscription.queue.endswith(".dead"):
            self.failures -= 1
            raise self.error
        super().declare(subscription, obsolete)


@pytest.mark.parametrize("error", [ConnectionError("a blip"), ConfigurationError("not allowed")])
def test_a_dead_queue_that_cannot_be_declared_just_now_loses_and_repeats_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the garbage, nor what is in hand meanwhile: the connection that it came by stands."""

    async def main() -> None:
        broker, heard = Undeclared(), Heard()
        async with EventBus(broker, "chat") as bus:
            await bus.register(to(rooms(heard, prefetch=2)))
            broker.error, broker.failures = error, 3
            broker.put("chat", b"garbage", KEY)
            await say(bus, *"abcdef")
            await until(lambda: broker.waiting("chat.rooms.dead") == 1)
            await until(lambda: len(heard.texts) == 6)
            statistics = bus.statistics["chat.rooms"]
            assert (statistics.outages, statistics.received, statistics.refused.total()) == (0, 7, 1)
        assert heard.texts == [*"abcdef"]
        assert broker.waiting("chat.rooms") == 0

    caplog.set_level(logging.INFO, "events_core.bus")
    run(main)
    assert caplog.text.count("1 messages cannot be put into chat.rooms.dead, again in 0.02 s") == 3


class Partly(InMemoryBroker):
    """Takes the first half of what goes into the dead queue, and is not heard about the rest."""

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        half = len(messages) // 2
        if not messages[0].topic.endswith(".dead") or not half:
            super().publish(messages, timeout)
            return
        super().publish(messages[:half], timeout)
        deliveries = [message.delivery for message in messages]
        raise EmitError("late", confirmed=deliveries[:half], unsent=deliveries[half:])


def test_what_is_confirmed_is_not_buried_again() -> None:
    """Although all of them have the same id: that is the sender's choice."""

    async def main() -> None:
        broker = Partly()
        async with EventBus(broker, "chat") as bus:
            await bus.register(to(rooms(Heard())))
            for number in range(20):
                broker.put("chat", b"garbage %d" % number, KEY, message_id="018f0000-0000-7000-8000-000000000000")
            await until(lambda: broker.waiting("chat.rooms.dead") >= 20)
        assert Counter(letter.body for letter in letters(broker)) == {b"garbage %d" % n: 1 for n in range(20)}
        assert broker.waiting("chat.rooms") == 0

    run(main)


def test_large_messages_go_into_the_dead_queue_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is buried at once has seconds for it, however large."""
    monkeypatch.setattr("events_core.bus.settling._CHUNK_BYTES", 1000)
    sizes: list[list[int]] = []

    class Measured(InMemoryBroker):
        def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
            sizes.append([len(message.body) for message in messages])
            super().publish(messages, timeout)

    async def main() -> None:
        broker = Measured()
        bus = EventBus(broker, "chat")
        await bus.register(to(rooms(Heard())))
        async with bus:
            pass  # the queue exists
        for size in (400, 600, 400, 5000, 10):
            broker.put("chat", b"x" * size, KEY)
        async with bus:
            await until(lambda: broker.waiting("chat.rooms.dead") == 5)

    run(main)
    assert sizes == [[400, 600], [400], [5000], [10]]


def test_what_is_said_of_a_message_is_written_as_text_that_any_broker_takes() -> None:
    broker = InMemoryBroker()
    queue = DeadQueue(broker, "chat.rooms")
    odd: Any = "\ud800" * 300
    received = Received(b"body", content_type=odd, message_id=odd, type=odd, topic=odd, routing_key=odd)
    queue.declare()
    assert queue.add([Dead(received, "invalid", odd)], 1.0)[1] is None
    (letter,) = letters(broker)
    for text in (letter.content_type, letter.type, letter.message_id, *map(str, letter.headers.values())):
        text.encode()
    assert len(letter.content_type.encode()) <= 255
    assert len(str(letter.headers[ERROR])) == 300
    assert letter.body == b"body"


def buried(received: Received) -> Received:
    """As it lies in the dead queue."""
    broker = InMemoryBroker()
    queue = DeadQueue(broker, "chat.rooms")
    queue.declare()
    assert queue.add([Dead(received, "invalid", "")], 1.0)[1] is None
    (letter,) = letters(broker)
    return letter


def test_the_sender_s_id_time_and_headers_are_kept() -> None:
    """What is put back is the same event; and what forged a header of ours does not mislead."""
    headers = {"tenant": "north", "priority": 3, "rate": 0.5, "urgent": True}
    forged = {REASON: "forged", "events-dead-more": "forged"}
    received = Received(b"x", "text/x", {**headers, **forged}, "bank-9", "t", "bank", "a.b", 1_700_000_000)
    letter = buried(received)
    ours = {REASON: "invalid", ERROR: "", TOPIC: "bank", ROUTING_KEY: "a.b"}
    assert letter.headers == {**headers, **ours}
    assert (letter.message_id, letter.type, letter.timestamp) == ("bank-9", "t", 1_700_000_000)
    assert letter.content_type == "text/x"


@pytest.mark.parametrize("timestamp", [None, float("nan"), 1e300, "soon"])
def test_without_an_id_it_has_none_and_without_a_time_the_present_one(timestamp: Any) -> None:
    """Made of its bytes, its id is the same each time; a made-up one would be another."""
    before = time.time()
    letter = buried(Received(b"x", timestamp=timestamp))
    assert (letter.message_id, letter.type) == ("", "")
    assert letter.timestamp is not None
    assert before <= letter.timestamp <= time.time()


def test_headers_that_not_all_brokers_take_are_left_out() -> None:
    odd: Any = {
        **dict.fromkeys(("CC", "BCC"), "chat.rooms"),
        "list": [1],
        "table": {"a": 1},
        "bytes": b"x",
        "none": None,
        "long": 2**63,
        "infinite": float("inf"),
        "x" * 256: 1,
        "\ud800": 1,
        5: 1,
        "least": -(2**63),
        "text": "\ud800",
    }
    kept = buried(Received(b"x", headers=odd)).headers
    assert {name: kept[name] for name in kept if not name.startswith("events-dead-")} == {
        "least": -(2**63),
        "text": "?",
    }


def test_headers_are_bounded() -> None:
    many = {f"{number:04}": number for number in range(100)}
    assert [*buried(Received(b"x", headers=many)).headers][:-4] == [*many][:50]
    large = {"a": "x" * 8193, "b": "x" * 8000, "c": "x" * 1000, "d": "x"}
    assert [*buried(Received(b"x", headers=large)).headers][:-4] == ["b", "d"]


def test_what_is_put_straight_back_and_dies_again_still_tells_where_it_came_from() -> None:
    first = buried(Received(b"x", topic="bank", routing_key="a.b" * 85))
    again = buried(Received(b"x", headers=first.headers, topic="", routing_key="chat.rooms"))
    assert (again.headers[TOPIC], again.headers[ROUTING_KEY]) == ("bank", "a.b" * 85)
    elsewhere = buried(Received(b"x", headers=first.headers, topic="mail", routing_key="c"))
    assert (elsewhere.headers[TOPIC], elsewhere.headers[ROUTING_KEY]) == ("mail", "c")


def test_a_dead_queue_that_somebody_deleted_is_made_anew() -> None:
    async def main() -> None:
        def give_up(event: Said) -> None:
            raise GiveUp

        broker = InMemoryBroker()
        async with EventBus(broker, "chat") as bus:
            await bus.register(to(rooms(give_up)))
            broker.delete(Subscription("chat.rooms.dead", frozenset()))
            await say(bus, "hello")
            await until(lambda: broker.waiting("chat.rooms.dead") == 1)

    run(main)
