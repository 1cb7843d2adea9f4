"""Exchanges: which queues a message reaches."""

from __future__ import annotations

import kombu

from tests.contract.brokers import Broker, Inbox
from tests.contract.promises import promised


def publish(broker: Broker, exchange: kombu.Exchange, *keys: str) -> None:
    """Publishes each routing key as a message of its own, over a connection that knows of no queue."""
    with broker.connect() as connection:
        producer = kombu.Producer(connection, exchange=exchange, serializer="json")
        for key in keys:
            producer.publish(key, routing_key=key)


@promised()
def test_a_direct_exchange_goes_by_the_whole_key(broker: Broker) -> None:
    """A queue may have several keys, and a key several queues."""
    exchange = kombu.Exchange(broker.name, type="direct")
    bindings = [kombu.binding(exchange, routing_key=key) for key in ("a", "b")]
    both = broker.queue("-both", bindings=bindings)
    one = broker.queue("-one", exchange=exchange, routing_key="a")
    with broker.connect() as connection:
        first, second = Inbox(connection, both), Inbox(connection, one)
        publish(broker, exchange, "a", "b", "c")
        assert first.wait(2) == ["a", "b"]
        assert second.wait(1) == ["a"]


@promised()
def test_a_topic_exchange_goes_by_patterns(broker: Broker) -> None:
    """`*` is one word, `#` any number."""
    exchange = kombu.Exchange(broker.name, type="topic")
    word = broker.queue("-word", exchange=exchange, routing_key="order.*")
    rest = broker.queue("-rest", exchange=exchange, routing_key="order.#")
    with broker.connect() as connection:
        first, second = Inbox(connection, word), Inbox(connection, rest)
        publish(broker, exchange, "order.placed", "order.placed.late", "payment.made")
        assert second.wait(2) == ["order.placed", "order.placed.late"]
        assert first.wait(1) == ["order.placed"]
        first.look()
        assert len(first.messages) == 1


@promised()
def test_a_bound_queue_keeps_messages_while_nobody_consumes(broker: Broker) -> None:
    """Declared by a connection that is long closed."""
    exchange = kombu.Exchange(broker.name, type="topic")
    queue = broker.queue(exchange=exchange, routing_key="order.*")
    with broker.connect() as connection:
        queue.bind(connection.default_channel).declare()
    publish(broker, exchange, "order.placed")
    with broker.connect() as connection:
        assert Inbox(connection, queue).wait(1) == ["order.placed"]


@promised()
def test_a_fanout_exchange_reaches_every_consumer(broker: Broker) -> None:
    """Each has a queue of its own, as Celery's remote control and its events do."""
    exchange = kombu.Exchange(broker.name, type="fanout")
    queues = [broker.queue(f"-{letter}", exchange=exchange, auto_delete=True) for letter in "ab"]
    with broker.connect() as connection, broker.connect() as other:
        inboxes = [Inbox(connection, queues[0], no_ack=True), Inbox(other, queues[1], no_ack=True)]
        for inbox in inboxes:
            inbox.look()
        broker.wait_for_subscribers(2)
        publish(broker, exchange, "")
        publish(broker, exchange, "")
        for inbox in inboxes:
            assert inbox.wait(2) == ["", ""]


@promised("fanout_is_kept")
def test_a_fanout_exchange_fills_queues_that_nobody_consumes(broker: Broker) -> None:
    exchange = kombu.Exchange(broker.name, type="fanout")
    queue = broker.queue(exchange=exchange)
    with broker.connect() as connection:
        queue.bind(connection.default_channel).declare()
    publish(broker, exchange, "")
    with broker.connect() as connection:
        assert Inbox(connection, queue).wait(1) == [""]
