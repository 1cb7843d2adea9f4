"""Receivers of ExchangeBroker: what comes, what comes again, and what neither ends nor stops them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import amqp
import kombu
import pytest

from events_core.brokers import ExchangeBroker, Received, Receiver, Subscription
from events_core.brokers.bell import Bell
from tests.support.exchanges import Paid, Placed, connection_to, key_of, numbers, publish, take
from tests.support.proxy import Proxy
from tests.support.redis_server import connect

SOON = 0.3  # seconds in which nothing should come
QUEUE = Subscription("queue", frozenset({("orders", "#")}))


@pytest.fixture
def broker(broker_url: str) -> Iterator[ExchangeBroker]:
    broker = ExchangeBroker(broker_url)
    broker.declare(QUEUE)
    yield broker
    broker.close()


@pytest.fixture
def receivers() -> Iterator[Callable[[Receiver], Receiver]]:
    """Closes what a test opens."""
    opened: list[Receiver] = []

    def keep(receiver: Receiver) -> Receiver:
        opened.append(receiver)
        return receiver

    yield keep
    for receiver in opened:
        receiver.close()


Keep = Callable[[Receiver], Receiver]


def test_closing_loses_no_acknowledgement(broker: ExchangeBroker, receivers: Keep) -> None:
    """Also while much more is on its way: what was acknowledged just before does not come again."""
    publish(broker, "orders", *(Placed(number=number, text="x" * 10_000) for number in range(1000)))
    expected: list[int] = []
    for _ in range(5):
        receiver = broker.receiver(QUEUE, 1000)
        found = take(receiver, 50)[:50]
        receiver.acknowledge(found)
        receiver.close()
        expected += numbers(found)
    rest = take(receivers(broker.receiver(QUEUE, 1000)), 750)
    assert sorted(expected + numbers(rest)) == [*range(1000)]


def test_acknowledgements_with_gaps(broker: ExchangeBroker, receivers: Keep) -> None:
    """In whatever order and portions: what is left comes again, and nothing else."""
    publish(broker, "orders", *(Placed(number=number) for number in range(20)))
    receiver = broker.receiver(QUEUE)
    found = take(receiver, 20)
    for share in ([7], [0, 1, 2], [19, 4], [3, 5, 6], [7, 8]):
        receiver.acknowledge([found[number] for number in share])
    receiver.give_back([found[number] for number in (10, 9)])
    again = take(receiver, 2)
    assert sorted(numbers(again)) == [9, 10]
    receiver.acknowledge(again)
    receiver.close()
    rest = take(receivers(broker.receiver(QUEUE)), 8)
    assert sorted(numbers(rest)) == [11, 12, 13, 14, 15, 16, 17, 18]


class TestProperties:
    def test_all_that_a_stranger_may_set(self, broker: ExchangeBroker, broker_url: str, receivers: Keep) -> None:
        with connection_to(broker_url) as connection:
            exchange = kombu.Exchange("orders", "topic", durable=True)
            connection.Producer().publish(
                b"body",
                exchange=exchange,
                declare=[exchange],
                routing_key="a.b",
                content_type="text/plain",
                content_encoding="utf-8",
                headers={"a": "b", "n": 1},
                message_id="id-1",
                type="theirs",
                timestamp=1234567890,
            )
        (message,) = take(receivers(broker.receiver(QUEUE)), 1)
        message.tag = None
        assert message == Received(
            b"body",
            content_type="text/plain",
            headers={"a": "b", "n": 1},
            message_id="id-1",
            type="theirs",
            topic="orders",
            routing_key="a.b",
            timestamp=1234567890,
        )

    def test_none(self, amqp_url: str, receivers: Keep) -> None:
        """A message without a single property, and one without a body."""
        broker = ExchangeBroker(amqp_url)
        broker.declare(QUEUE)
        with connection_to(amqp_url) as connection:
            for body in (b"body", b""):
                connection.default_channel.basic_publish(amqp.Message(body), "orders", "key")
        found = take(receivers(broker.receiver(QUEUE)), 2)
        assert [(m.body, m.content_type, m.headers, m.message_id, m.type, m.timestamp) for m in found] == [
            (body, "", {}, "", "", None) for body in (b"body", b"")
        ]

    def test_that_are_no_text(self, amqp_url: str, receivers: Keep) -> None:
        """py-amqp ends the connection over them, again and again; here the body arrives."""
        broker = ExchangeBroker(amqp_url)
        broker.declare(QUEUE)
        with connection_to(amqp_url) as connection:
            broken = amqp.Message(b"broken", message_id=b"\xff\xfe", application_headers={"a": b"\xff"})
            connection.default_channel.basic_publish(broken, "orders", b"\xff.\xfe")
            connection.default_channel.basic_publish(amqp.Message(b"whole", message_id="1"), "orders", "key")
        broken_one, whole = take(receivers(broker.receiver(QUEUE)), 2)
        assert (broken_one.body, broken_one.message_id) == (b"broken", "")
        assert (whole.body, whole.message_id) == (b"whole", "1")

    def test_a_body_of_many_frames(self, amqp_url: str, receivers: Keep) -> None:
        broker = ExchangeBroker(amqp_url)
        broker.declare(QUEUE)
        bodies = [bytes([number]) * size for number, size in enumerate((1, 131_072, 1_000_000, 0, 131_064))]
        with connection_to(amqp_url) as connection:
            for body in bodies:
                connection.default_channel.basic_publish(amqp.Message(body), "orders", "key")
        assert [message.body for message in take(receivers(broker.receiver(QUEUE)), 5)] == bodies


DEEP = "[" * 400 + "]" * 400
LONE = '"\\ud800"'  # half a character
PROPERTIES = (
    f', "headers": {{"a": {LONE}}}, "properties": {{"message_id": {LONE}, "delivery_tag": 1, '
    '"delivery_info": {"exchange": 1, "routing_key": null}}}'
)
GARBAGE: list[dict[str, str | bytes]] = [
    {"m": b"\xff\x00"},
    {"m": "{"},
    {"m": "[]"},
    {"m": '{"body": 1}'},
    {"x": "y"},
    {"m": '{"body": {"a": 1}' + PROPERTIES},
    {"m": '{"body": ' + DEEP + PROPERTIES},
    {"m": f'{{"content-type": {LONE}, "body": {{"a": {LONE}}}' + PROPERTIES},
]


def test_garbage_in_a_stream(redis_url: str, receivers: Keep) -> None:
    """Whatever somebody put there comes out as bytes, is acknowledged like anything else, and stops nobody."""
    broker = ExchangeBroker(redis_url)
    broker.declare(QUEUE)
    with connect(redis_url) as client:
        for fields in GARBAGE:
            client.xadd("stream:queue", fields)  # type: ignore[arg-type]  # redis-py's mapping is invariant
        publish(broker, "orders", Placed(number=1))
        receiver = receivers(broker.receiver(QUEUE))
        found = take(receiver, len(GARBAGE) + 1)
        assert [message.body for message in found[:5]] == [b"\xff\x00", b"{", b"[]", b'{"body": 1}', b"x y"]
        assert [message.body for message in found[5:8]] == [b'{"a":1}', DEEP.encode(), f'{{"a": {LONE}}}'.encode()]
        assert (found[7].message_id, found[7].content_type, found[7].headers) == ("?", "?", {})
        assert numbers(found[-1:]) == [1]
        receiver.acknowledge(found)
        assert client.xlen("stream:queue") == 0
    assert receiver.receive(SOON) == []


class TestLostConnections:
    @dataclass
    class Line:
        """A receiver behind a network that can be made to fail, and a broker that is not."""

        receiver: Receiver
        broker: ExchangeBroker
        proxy: Proxy

    @pytest.fixture
    def line(self, broker: ExchangeBroker, broker_url: str, receivers: Keep) -> Iterator[Line]:
        port = urlsplit(broker_url).port
        assert port is not None
        with Proxy(port) as proxy:
            url = broker_url.replace(f":{port}", f":{proxy.port}")
            url += "?heartbeat=2" if url.startswith("amqp") else ""
            receiver = receivers(ExchangeBroker(url).receiver(QUEUE))
            assert receiver.receive(0) == []
            yield self.Line(receiver, broker, proxy)

    def test_what_was_not_acknowledged_comes_again(self, line: Line) -> None:
        """The loss is told once; the next call connects anew."""
        publish(line.broker, "orders", *(Placed(number=number) for number in range(4)))
        found = take(line.receiver, 4)
        line.receiver.acknowledge(found[:2])
        assert line.receiver.receive(SOON) == []  # they have reached the server
        found.clear()
        line.proxy.cut()
        with pytest.raises(OSError, match=r"queue queue: .* is lost"):
            line.receiver.receive(10)
        again = take(line.receiver, 2, through_errors=True)
        assert sorted(numbers(again)) == [2, 3]
        assert all(message.redelivered for message in again)
        line.receiver.acknowledge(again)
        assert line.receiver.receive(SOON) == []

    def test_a_late_acknowledgement_does_no_harm(self, line: Line, broker_url: str) -> None:
        """On RabbitMQ they come again all the same; on Redis they do not. What came after them is not touched."""
        publish(line.broker, "orders", Placed(number=1))
        late = take(line.receiver, 1)
        awaited = {1, 2} if broker_url.startswith("amqp") else {2}
        line.proxy.cut()
        with pytest.raises(OSError, match="is lost"):
            line.receiver.receive(10)
        found = line.receiver.receive(0)
        line.receiver.acknowledge(late)
        publish(line.broker, "orders", Placed(number=2))
        while not awaited <= set(numbers(found)):
            found += take(line.receiver, 1)
        line.receiver.give_back(late)
        line.receiver.acknowledge(found)
        assert line.receiver.receive(SOON) == []

    @pytest.mark.contract  # heartbeats have to be missed
    def test_a_line_that_goes_silent_is_noticed(self, line: Line) -> None:
        """Neither end is told that it leads nowhere: heartbeats, and on Redis answers, are missed."""
        line.proxy.strand()
        publish(line.broker, "orders", Placed(number=1))
        assert numbers(take(line.receiver, 1, through_errors=True)) == [1]

    @pytest.mark.contract  # longer than heartbeats
    def test_an_idle_receiver_keeps_its_connection(self, line: Line) -> None:
        """Several heartbeats' time without a message."""
        served = line.proxy.served
        assert line.receiver.receive(6) == []
        publish(line.broker, "orders", Placed(number=1))
        assert numbers(take(line.receiver, 1)) == [1]
        assert line.proxy.served == served


class TestADeletedQueue:
    def test_under_a_consumer_on_rabbitmq(self, amqp_url: str, receivers: Keep) -> None:
        """The consumer is told, once, and makes it anew with its bindings."""
        broker = ExchangeBroker(amqp_url, unroutable="raise")
        receiver = receivers(broker.receiver(QUEUE))
        assert receiver.receive(0) == []
        broker.delete(QUEUE)
        with pytest.raises(OSError, match="queue queue"):
            receiver.receive(10)
        assert receiver.receive(0) == []
        publish(broker, "orders", Placed(number=1))
        assert numbers(take(receiver, 1)) == [1]
        broker.close()

    def test_a_stream_on_redis(self, redis_url: str, receivers: Keep) -> None:
        """It is made anew without a word; its bindings do not lie in it."""
        broker = ExchangeBroker(redis_url, unroutable="raise")
        broker.declare(QUEUE)
        receiver = receivers(broker.receiver(QUEUE))
        assert receiver.receive(0) == []
        with connect(redis_url) as client:
            client.delete("stream:queue")
        publish(broker, "orders", Placed(number=1))
        assert numbers(take(receiver, 1)) == [1]
        broker.close()

    @pytest.mark.parametrize("gone", ["everything", "the topic", "the queue"])
    def test_bindings_that_are_gone_while_the_connection_stands(
        self, redis_url: str, receivers: Keep, gone: str
    ) -> None:
        """Redis was emptied: a lasting queue hears what is published from its consumer's next look at them on."""
        broker = ExchangeBroker(redis_url)
        broker.declare(QUEUE)
        receiver: Any = receivers(broker.receiver(QUEUE))
        assert receiver.receive(0) == []
        with connect(redis_url) as client:
            if gone == "everything":
                client.flushdb()
            else:
                of = {"the topic": "orders", "the queue": "queue"}[gone]
                client.delete(*[key for key in client.scan_iter() if key.decode().split(".", 1)[-1].endswith(of)])
        receiver._link.declared -= 60  # a minute goes by
        assert receiver.receive(0) == []
        publish(broker, "orders", Placed(number=1))
        assert numbers(take(receiver, 1)) == [1]
        assert broker.unroutable_count == 0
        broker.close()

    def test_what_another_worker_has_unbound_stays_unbound(self, redis_url: str, receivers: Keep) -> None:
        """In the middle of a deploy: the older worker's consumer does not bind it again."""
        broker = ExchangeBroker(redis_url)
        older = Subscription("queue", frozenset({("orders", key_of(Placed)), ("orders", key_of(Paid)), ("crm", "#")}))
        broker.declare(older)
        receiver: Any = receivers(broker.receiver(older))
        assert receiver.receive(0) == []
        broker.declare(Subscription("queue", frozenset({("orders", key_of(Placed))})))
        receiver._link.declared -= 60  # a minute goes by
        assert receiver.receive(0) == []
        publish(broker, "orders", Paid(number=1), Placed(number=2))
        publish(broker, "crm", Placed(number=3))
        assert numbers(take(receiver, 1)) == [2]
        assert receiver.receive(SOON) == []
        assert broker.unroutable_count == 2
        broker.close()

    def test_a_consumer_s_own_one_is_bound_again(self, redis_url: str, receivers: Keep) -> None:
        """It stood still for so long that its queue expired, and a publisher unbound it: it hears what comes later."""
        broker = ExchangeBroker(redis_url)
        receiver: Any = receivers(broker.receiver(Subscription("mine", QUEUE.bindings, lasting=False)))
        assert receiver.receive(0) == []
        with connect(redis_url) as client:
            client.delete("stream:mine")
        publish(broker, "orders", Placed(number=1))
        assert broker.unroutable_count == 1
        receiver._link.declared -= 60  # a minute goes by
        assert receiver.receive(0) == []
        publish(broker, "orders", Placed(number=2))
        assert numbers(take(receiver, 1)) == [2]
        broker.close()


def test_two_types_on_one_queue_keep_their_order(broker: ExchangeBroker, receivers: Keep) -> None:
    """Events of one producer, in several calls, as they were published."""
    receiver = receivers(broker.receiver(QUEUE, 300))
    for number in range(0, 200, 4):
        publish(broker, "orders", *(kind(number=number + at) for at, kind in enumerate((Placed, Paid, Paid, Placed))))
    found = take(receiver, 200)
    assert numbers(found) == [*range(200)]
    assert {message.routing_key for message in found} == {key_of(Placed), key_of(Paid)}


class TestBell:
    def test_it_is_heard_once_for_any_number_of_rings(self) -> None:
        bell = Bell()
        for _ in range(100_000):  # more than the pipe holds
            bell.ring()
        while bell.silence():
            pass
        bell.ring()
        assert bell.silence()
        assert not bell.silence()
        bell.close()

    def test_ringing_late_writes_to_nobody(self) -> None:
        """Its descriptors may be somebody else's by then."""
        bell = Bell()
        bell.close()
        one, other = socket.socketpair()
        bell.ring()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        assert not bell.silence()
        one.close()
        other.close()
