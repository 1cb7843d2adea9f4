"""Exchanges, queues and bindings: which exist, from when on, and until when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import kombu
import pytest

from events_core.brokers import ExchangeBroker, Subscription
from events_core.errors import ConfigurationError
from tests.support.exchanges import Customer, Paid, Placed, connection_to, key_of, numbers, publish, take
from tests.support.rabbitmq_server import GivenRabbit, RabbitServer
from tests.support.redis_server import connect
from tests.support.waiting import wait_until

SOON = 0.3  # seconds in which nothing should come


@pytest.fixture
def broker(broker_url: str) -> Iterator[ExchangeBroker]:
    broker = ExchangeBroker(broker_url)
    yield broker
    broker.close()


def heard(broker: ExchangeBroker, queue: str, count: int) -> list[int]:
    """What waits in a queue: so many, and no more. Acknowledged."""
    receiver = broker.receiver(Subscription(queue, frozenset()))
    found = take(receiver, count) if count else []
    found += receiver.receive(SOON)
    receiver.acknowledge(found)
    receiver.close()
    return sorted(numbers(found))


EVENTS = (Placed(number=1), Paid(number=2), Customer(number=3))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (key_of(Placed), [1]),
        ("notification_event.#", [1, 2]),
        ("*.exchange.order.*", [1, 2]),
        ("*.exchange.*", [3]),
        ("#.paid", [2]),
        ("#", [1, 2, 3]),
        ("ecst_event.exchange", []),
        ("notification_event.exchange_order_placed", []),
    ],
)
def test_wildcards(broker: ExchangeBroker, pattern: str, expected: list[int]) -> None:
    """A star is one word, a hash any number of them, and a dot nothing but a dot: on both servers."""
    broker.declare(Subscription("queue", frozenset({("orders", pattern)})))
    publish(broker, "orders", *EVENTS)
    assert heard(broker, "queue", len(expected)) == expected


def test_two_bindings_that_fit_give_one_copy(broker: ExchangeBroker) -> None:
    broker.declare(Subscription("queue", frozenset({("orders", "#"), ("orders", "notification_event.#")})))
    publish(broker, "orders", *EVENTS)
    assert heard(broker, "queue", 3) == [1, 2, 3]


class TestUnbinding:
    BEFORE = frozenset({("orders", key_of(Placed)), ("orders", key_of(Paid)), ("crm", "#")})
    AFTER = frozenset({("orders", key_of(Placed))})

    def test_what_went_is_unbound(self, broker: ExchangeBroker) -> None:
        """An event type and a whole topic; other queues keep theirs."""
        broker.declare(Subscription("queue", self.BEFORE))
        broker.declare(Subscription("other", self.BEFORE))
        broker.declare(Subscription("queue", self.AFTER), self.BEFORE - self.AFTER)
        publish(broker, "orders", *EVENTS)
        publish(broker, "crm", *EVENTS)
        assert heard(broker, "queue", 1) == [1]
        assert heard(broker, "other", 5) == [1, 1, 2, 2, 3]

    def test_redis_knows_them_itself(self, redis_url: str) -> None:
        """Nobody needs to remember what a queue was bound to."""
        broker = ExchangeBroker(redis_url)
        broker.declare(Subscription("queue", self.BEFORE))
        broker.declare(Subscription("queue", self.AFTER))
        publish(broker, "orders", *EVENTS)
        publish(broker, "crm", *EVENTS)
        assert heard(broker, "queue", 1) == [1]
        broker.close()

    def test_obsolete_ones_that_never_were(self, broker: ExchangeBroker) -> None:
        """Neither the topic nor the binding exists: no error."""
        broker.declare(Subscription("queue", self.AFTER), frozenset({("nowhere", "#"), ("orders", "never")}))
        publish(broker, "orders", *EVENTS)
        assert heard(broker, "queue", 1) == [1]

    def test_a_receiver_of_the_version_before_unbinds_nothing(self, broker: ExchangeBroker) -> None:
        """In a rolling deployment it may connect again after the new version has declared."""
        broker.declare(Subscription("queue", self.BEFORE))
        old = broker.receiver(Subscription("queue", self.AFTER))
        assert old.receive(0) == []
        publish(broker, "crm", Customer(number=3))
        assert numbers(take(old, 1)) == [3]
        old.close()


class TestDeclaring:
    def test_many_at_once(self, broker: ExchangeBroker) -> None:
        """Every instance of a service declares the same when it starts."""
        queue = Subscription("queue", frozenset({("orders", "#"), ("crm", "#")}))
        errors: list[BaseException] = []

        def declare() -> None:
            try:
                for _ in range(3):
                    broker.declare(queue)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=declare) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        publish(broker, "orders", Placed(number=1))
        assert heard(broker, "queue", 1) == [1]

    def test_kombu_s_consumers_and_ours_share_bindings(self, broker: ExchangeBroker, broker_url: str) -> None:
        """A queue that kombu bound is routed to, and one that we bound is known to kombu's producers."""
        with connection_to(broker_url) as connection:
            exchange = kombu.Exchange("orders", "topic", durable=True)
            theirs = kombu.Queue("theirs", exchange, routing_key="notification_event.#", durable=True)
            theirs(connection.default_channel).declare()
            broker.declare(Subscription("ours", frozenset({("orders", "notification_event.#")})))
            publish(broker, "orders", *EVENTS)
            body = b'{"data": {"number": 9}}'
            producer = connection.Producer()
            producer.publish(body, exchange=exchange, routing_key=key_of(Placed), content_type="application/json")
        assert heard(broker, "theirs", 3) == [1, 2, 9]
        assert heard(broker, "ours", 3) == [1, 2, 9]

    def test_a_queue_that_exists_as_another_one(self, amqp_url: str) -> None:
        """It says which and what to do, in what declares and in what receives."""
        queue = Subscription("queue", frozenset({("orders", "#")}))
        ExchangeBroker(amqp_url).declare(queue)
        quorum = ExchangeBroker(amqp_url, quorum_queues=True)
        receiver = quorum.receiver(queue)
        for use in (lambda: quorum.declare(queue), lambda: receiver.receive(0)):
            with pytest.raises(ConfigurationError, match=r"queue 'queue' exists on RabbitMQ .* delete queue 'queue'"):
                use()
        receiver.close()

    def test_quorum_queues(self, amqp_url: str) -> None:
        broker = ExchangeBroker(amqp_url, quorum_queues=True)
        queue = Subscription("queue", frozenset({("orders", "#")}))
        broker.declare(queue)
        publish(broker, "orders", *EVENTS)
        receiver = broker.receiver(queue)
        assert numbers(take(receiver, 3)) == [1, 2, 3]
        receiver.close()
        broker.delete(queue)
        broker.close()

    def test_nothing_is_left_of_a_deleted_queue(self, redis_url: str) -> None:
        broker = ExchangeBroker(redis_url)
        queue = Subscription("queue", frozenset({("orders", "#"), ("crm", "#")}))
        broker.declare(queue)
        publish(broker, "orders", *EVENTS)
        receiver = broker.receiver(queue)
        take(receiver, 3)
        receiver.close()
        broker.delete(queue)
        with connect(redis_url) as client:
            assert [key for key in client.scan_iter() if key != b"streams:alive"] == []
        broker.close()

    def test_what_is_no_binding_is_left_alone(self, redis_url: str) -> None:
        """Somebody's members of a topic's set that kombu never wrote stop nobody."""
        broker = ExchangeBroker(redis_url)
        queue = Subscription("queue", frozenset({("orders", "#")}))
        broker.declare(queue)
        with connect(redis_url) as client:
            client.sadd(
                "_kombu.binding.orders", b"\xff", "a", "\x06\x16".join(("a", "(", "broken")), b"\x06\x16\x06\x16"
            )
        broker.declare(queue)
        publish(broker, "orders", *EVENTS)
        assert heard(broker, "queue", 3) == [1, 2, 3]
        broker.close()


class TestAConsumersOwnQueue:
    MINE = Subscription("mine", frozenset({("orders", "#")}), lasting=False)

    def test_it_goes_with_its_consumer(self, broker_url: str) -> None:
        """Once the receiver is closed there is nothing that an event could reach."""
        broker = ExchangeBroker(broker_url)
        receiver = broker.receiver(self.MINE)
        assert receiver.receive(0) == []
        publish(broker, "orders", Placed(number=1))
        assert numbers(take(receiver, 1)) == [1]
        assert broker.unroutable_count == 0
        receiver.close()
        publish(broker, "orders", Placed(number=2))
        assert broker.unroutable_count == 1
        broker.close()

    def test_it_waits_half_a_minute_for_one_that_was_killed(
        self, amqp_url: str, rabbitmq_server: RabbitServer | GivenRabbit
    ) -> None:
        """RabbitMQ deletes it then. Until then nothing is missed, should it only have lost its connection."""
        receiver = ExchangeBroker(amqp_url).receiver(self.MINE)
        assert receiver.receive(0) == []
        assert isinstance(rabbitmq_server, RabbitServer)
        vhost = urlsplit(amqp_url).path[1:]
        (queue,) = rabbitmq_server.api("GET", f"queues/{vhost}?disable_stats=true&enable_queue_totals=true")
        assert queue["arguments"] == {"x-expires": 30_000}
        receiver.close()
        wait_until(lambda: rabbitmq_server.queues(vhost) == [], 10, "no queue left")

    def test_on_redis_it_expires_likewise(self, redis_url: str) -> None:
        receiver = ExchangeBroker(redis_url).receiver(self.MINE)
        assert receiver.receive(0) == []
        with connect(redis_url) as client:
            assert 0 < client.pttl("stream:mine") <= 30_000
            receiver.close()
            assert [key for key in client.scan_iter() if key != b"streams:alive"] == []
