"""Publishing: what bodies and properties survive, and messages that are sent together."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import kombu
import pytest
from kombu.pools import producers

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised


@promised()
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"name": "Ægir \U0001f30a", "zero": "a\0b", "nested": [[], {}, None, 1.5, True]}, id="unicode"),
        pytest.param("x" * 1_000_000, id="megabyte"),
        pytest.param("", id="empty"),
    ],
)
def test_a_body_arrives_as_it_was(broker: Broker, body: Any) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, body)
        assert Inbox(connection, queue).wait(1) == [body]


@promised()
def test_bytes_arrive_as_they_were(broker: Broker) -> None:
    """Every byte there is, also where the transport writes JSON."""
    queue = broker.queue()
    every = bytes(range(256))
    with broker.connect() as connection:
        kombu.Producer(connection).publish(
            every,
            routing_key=queue.name,
            declare=[queue],
            content_type="application/data",
            content_encoding="binary",
        )
        inbox = Inbox(connection, queue, accept=("application/data",))
        assert bytes(inbox.wait(1)[0]) == every


@promised()
def test_properties_and_headers_arrive_as_they_were(broker: Broker) -> None:
    """Those that Celery uses; a compressed body is read without being asked for."""
    queue = broker.queue()
    properties = {"correlation_id": "c-1", "reply_to": "r-1", "priority": 3}
    with broker.connect() as connection:
        send(
            connection, queue, "b" * 1000, headers={"id": "h-1", "n": 1, "none": None}, compression="zlib", **properties
        )
        inbox = Inbox(connection, queue)
        assert inbox.wait(1) == ["b" * 1000]
        (message,) = inbox.messages
        assert {name: message.properties[name] for name in properties} == properties
        assert {name: message.headers[name] for name in ("id", "n", "none")} == {"id": "h-1", "n": 1, "none": None}
        assert message.delivery_info["routing_key"] == queue.name
        assert message.delivery_info["exchange"] == ""


@promised()
def test_a_batch_arrives_in_order(broker: Broker) -> None:
    """More than one flush of it, to several queues, by name and through an exchange."""
    exchange = kombu.Exchange(broker.name, type="topic")
    plain, bound = broker.queue("-plain"), broker.queue("-bound", exchange=exchange, routing_key="order.*")
    with broker.connect() as connection:
        producer = kombu.Producer(connection.default_channel, serializer="json")
        for queue in (plain, bound):
            producer.maybe_declare(queue.bind(connection.default_channel))
        with producer.batch(max_size=7):
            for number in range(30):
                producer.publish(number, routing_key=plain.name)
                producer.publish(number, exchange=exchange, routing_key="order.placed")
        assert broker.ready(plain) == broker.ready(bound) == 30
        assert Inbox(connection, plain).wait(30) == list(range(30))
        assert Inbox(connection, bound).wait(30) == list(range(30))


@promised("batches")
def test_a_batch_is_sent_when_it_is_flushed(broker: Broker) -> None:
    """And nothing of it before; a batch that ends in an exception is not sent at all."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 0)
        producer = kombu.Producer(connection.default_channel, serializer="json")
        assert producer.supports_batch_publish
        with producer.batch() as batch:
            producer.publish(1, routing_key=queue.name)
            assert broker.ready(queue) == 1
            batch.flush()
            assert broker.ready(queue) == 2
            producer.publish(2, routing_key=queue.name)
        assert broker.ready(queue) == 3
        with suppress(ZeroDivisionError), producer.batch():
            producer.publish(3, routing_key=queue.name)
            raise ZeroDivisionError
        assert Inbox(connection, queue).wait(3) == [0, 1, 2]


@promised("batches")
def test_a_batch_keeps_priorities_and_expiry(broker: Broker) -> None:
    """The queue expires, and is read by priority, as if each message had been sent alone."""
    queue = broker.queue(expires=60)
    with broker.connect() as connection:
        producer = kombu.Producer(connection.default_channel, serializer="json")
        producer.maybe_declare(queue.bind(connection.default_channel))
        with producer.batch():
            for priority in (9, 0, 5):
                producer.publish(priority, routing_key=queue.name, priority=priority)
        lasting = [key for key in broker.all_keys() if queue.name in key and _lasts(broker, key)]
        assert lasting == []
        assert Inbox(connection, queue).wait(3) == [0, 5, 9]


def _lasts(broker: Broker, key: str) -> bool:
    with broker.client() as client:
        return int(client.pttl(key)) < 0


@promised()
def test_threads_publish_at_once_from_a_pool(broker: Broker) -> None:
    """Each takes a producer from kombu's pool, as Celery does."""
    queue = broker.queue()
    with broker.connect(pool=broker.name) as connection:  # kombu keeps a pool for each set of options
        queue.bind(connection.default_channel).declare()
        pool = producers[connection]

        def publish(thread: int) -> None:
            for number in range(10):
                with pool.acquire(block=True) as producer:
                    producer.publish([thread, number], routing_key=queue.name, serializer="json")

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        got = Inbox(connection, queue).wait(50)
        for publisher in range(5):
            assert [number for by, number in got if by == publisher] == list(range(10))
        pool.force_close_all()
