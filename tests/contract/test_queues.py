"""Queues: declared, counted, purged, deleted, expiring, read in turn, and by priority."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import kombu
import pytest

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised
from tests.support.waiting import wait_until

TEN = list(range(10))


@promised()
def test_a_queue_counts_what_is_with_no_consumer(broker: Broker) -> None:
    """By a declaration that creates and by one that only asks; what a consumer holds does not count."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(7))
        bound = queue.bind(connection.default_channel)
        assert bound.queue_declare().message_count == 7
        assert bound.queue_declare(passive=True).message_count == 7
        inbox = Inbox(connection, queue, prefetch=3)
        inbox.wait(3)
        assert broker.ready(queue) == 4
        inbox.messages[0].requeue()
        inbox.wait(4)  # the place is taken again at once
        assert broker.ready(queue) == 4
    broker.wait_for_ready(queue, 7)


@promised()
def test_a_queue_that_was_never_declared_is_an_error_to_ask_for(broker: Broker) -> None:
    with broker.connect() as connection:
        bound = broker.queue("-never").bind(connection.default_channel)
        with pytest.raises(connection.channel_errors, match="404"):
            bound.queue_declare(passive=True)


@promised("empty_queues_exist")
def test_a_declared_queue_exists_while_it_is_empty(broker: Broker) -> None:
    """Also after all that was in it has been acknowledged."""
    queue = broker.queue()
    with broker.connect() as connection:
        assert queue.bind(connection.default_channel).queue_declare().message_count == 0
        send(connection, queue, 1)
        inbox = Inbox(connection, queue)
        inbox.wait(1)
        inbox.ack_all()
    with broker.connect() as connection:
        assert queue.bind(connection.default_channel).queue_declare(passive=True).message_count == 0


@promised()
def test_a_purge_deletes_what_waits_and_leaves_what_is_held(broker: Broker) -> None:
    """It says how many it deleted; what a consumer holds comes again when that is closed."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(10))
        Inbox(connection, queue, prefetch=3).wait(3)
        with broker.connect() as other:
            bound = queue.bind(other.default_channel)
            assert bound.purge() == 7
            assert bound.purge() == 0
    broker.wait_for_ready(queue, 3)
    with broker.connect() as connection:
        assert sorted(Inbox(connection, queue).wait(3)) == [0, 1, 2]


@promised()
def test_a_purge_deletes_what_was_given_back(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1, 2)
        Inbox(connection, queue).wait(2)
    broker.wait_for_ready(queue, 2)
    with broker.connect() as connection:
        assert queue.bind(connection.default_channel).purge() == 2
    assert broker.ready(queue) == 0


@promised()
def test_a_deleted_queue_is_gone_with_its_messages_and_bindings(broker: Broker) -> None:
    """What is published to its exchange afterwards goes nowhere; declared again, it starts empty."""
    exchange = kombu.Exchange(broker.name, type="direct")
    queue = broker.queue(exchange=exchange, routing_key="key")
    with broker.connect() as connection:
        channel = connection.default_channel
        bound = queue.bind(channel)
        bound.declare()
        producer = kombu.Producer(channel, exchange=exchange)
        producer.publish(1, routing_key="key")
        assert broker.ready(queue) == 1
        bound.delete()
        producer.publish(2, routing_key="key")
        assert broker.ready(queue) == 0
        send(connection, queue, 3)
        assert Inbox(connection, queue).wait(1) == [3]


@promised("deletes_unbound_queues")
def test_a_queue_without_an_exchange_is_deleted_too(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1)
        queue.bind(connection.default_channel).delete()
        assert broker.ready(queue) == 0


@promised()
def test_a_queue_with_messages_is_not_deleted_if_only_empty_ones_are(broker: Broker) -> None:
    queue = broker.queue(exchange=kombu.Exchange(broker.name, type="direct"), routing_key="key")
    with broker.connect() as connection:
        send(connection, queue, 1)
        with suppress(connection.channel_errors):  # RabbitMQ says so, and closes the channel
            queue.bind(connection.default_channel).delete(if_empty=True)
    assert broker.ready(queue) == 1


@promised("auto_delete")
def test_a_queue_of_auto_delete_goes_with_its_last_consumer(broker: Broker) -> None:
    """With what is in it; what a consumer still holds of it can be settled without an error."""
    queue = broker.queue(exchange=kombu.Exchange(broker.name), routing_key="key", auto_delete=True)
    with broker.connect() as connection, broker.connect() as other:
        first = Inbox(connection, queue, prefetch=1)
        send(connection, queue, 1, 2, 3)
        first.wait(1)
        second = Inbox(other, queue, prefetch=1)
        second.wait(1)
        first.consumer.cancel()
        assert broker.ready(queue) == 1
        second.consumer.cancel()
        assert broker.ready(queue) == 0
        with broker.connect() as third:
            with pytest.raises(third.channel_errors, match="404"):
                queue.bind(third.default_channel).queue_declare(passive=True)
        first.messages[0].ack()


@promised()
def test_a_queue_that_expires_goes_with_what_is_in_it(broker: Broker) -> None:
    """Looked for more seldom than it takes to expire: on RabbitMQ, asking for a queue is using it."""
    queue = broker.queue(exchange=kombu.Exchange(broker.name), routing_key="key", expires=0.3)
    with broker.connect() as connection:
        send(connection, queue, 1, 2)
    with broker.connect() as connection:

        def gone() -> bool:
            time.sleep(0.6)
            return not _exists(connection, queue)

        wait_until(gone, 15, "the queue to expire")


def _exists(connection: kombu.Connection, queue: kombu.Queue) -> bool:
    channel = connection.channel()  # one for each look, since RabbitMQ closes one that asks for what is not there
    try:
        queue.bind(channel).queue_declare(passive=True)
    except connection.channel_errors:
        return False
    else:
        channel.close()
        return True


@promised()
def test_a_queue_that_expires_lives_while_it_is_consumed(broker: Broker) -> None:
    """A consumer that waits longer than the queue's expiry still gets what comes then."""
    queue = broker.queue(exchange=kombu.Exchange(broker.name), routing_key="key", expires=1.2)
    with broker.connect() as connection, broker.connect() as other:
        inbox = Inbox(connection, queue)
        for number in range(3):
            inbox.look(1.6)
            kombu.Producer(other, exchange=queue.exchange).publish(number, routing_key="key")
            inbox.wait(number + 1)


@promised()
def test_an_urgent_message_overtakes_what_waits(broker: Broker) -> None:
    """A full queue is read by priority, and by age within one: one at a time, strictly."""
    queue = broker.priority_queue()
    published = [(priority, number) for number in range(3) for priority in random.Random(3).sample(TEN, 10)]
    with broker.connect() as connection:
        for item in published:
            send(connection, queue, item, priority=item[0])
        assert broker.ready(queue) == len(published)
        inbox = Inbox(connection, queue, prefetch=1)
        got: list[tuple[int, int]] = []
        while len(got) < len(published):
            got += map(tuple, inbox.wait(1))
            inbox.ack_all()
    assert got == sorted(published, key=lambda item: broker.urgency(item[0]))


@promised()
def test_a_late_urgent_message_waits_for_one_window_at_most(broker: Broker) -> None:
    """The consumer has no more of the others than its prefetch count."""
    queue = broker.priority_queue()
    urgent, idle = sorted((0, 9), key=broker.urgency)
    with broker.connect() as connection:
        send(connection, queue, *range(20), priority=idle)
        inbox = Inbox(connection, queue, prefetch=4)
        assert inbox.wait(4) == [0, 1, 2, 3]
        send(connection, queue, "urgent", priority=urgent)
        inbox.messages[0].ack()
        assert inbox.wait(5)[4] == "urgent"


@promised("is_redis")
def test_ten_steps_of_priority_are_all_told_apart(broker: Broker) -> None:
    """With the transport option priority_steps; the queue is counted and purged over all of them."""
    queue = broker.queue()
    with broker.connect(priority_steps=TEN) as connection:
        for priority in random.Random(7).sample(TEN, 10):
            send(connection, queue, priority, priority=priority)
        bound = queue.bind(connection.default_channel)
        assert bound.queue_declare(passive=True).message_count == 10
        assert Inbox(connection, queue).wait(10) == TEN
        send(connection, queue, 1, 2, priority=7)
        with broker.connect(priority_steps=TEN) as other:
            Inbox(connection, queue).look()
            assert queue.bind(other.default_channel).purge() in (0, 2)


@promised("reads_in_turn")
def test_several_queues_are_read_in_turn(broker: Broker) -> None:
    """A full queue does not hold up the others, one message at a time or several."""
    queues = [broker.queue(f"-{letter}") for letter in "abc"]
    with broker.connect() as connection:
        for queue in queues:
            send(connection, queue, *[queue.name] * 20)
        inbox = Inbox(connection, *queues, prefetch=1)
        first: list[str] = []
        while len(first) < 12:
            first += inbox.wait(1)
            inbox.ack_all()
        assert all(first.count(queue.name) >= 3 for queue in queues), first


@promised()
@pytest.mark.parametrize("prefetch", [1, 4], ids=["one", "four"])
def test_the_prefetch_count_holds_for_all_queues_together(broker: Broker, prefetch: int) -> None:
    """What is beyond it stays for others."""
    queues = [broker.queue(f"-{letter}") for letter in "abc"]
    with broker.connect() as connection, broker.connect() as other:
        for queue in queues:
            send(connection, queue, *range(5))
        inbox = Inbox(connection, *queues, prefetch=prefetch)
        inbox.wait(prefetch)
        inbox.look()
        Inbox(other, *queues).wait(15 - prefetch)
        assert len(inbox.messages) == prefetch


@promised()
@pytest.mark.parametrize("looks", range(5), ids="looks-{}".format)
def test_the_prefetch_count_holds_for_what_comes_at_once(broker: Broker, looks: int) -> None:
    """Two messages come to two queues, in whatever state of its reading an idle consumer is: one is left to others."""
    queues = [broker.queue(f"-{letter}") for letter in "ab"]
    with broker.connect() as connection, broker.connect() as other:
        inbox = Inbox(connection, *queues, prefetch=1)
        for _ in range(looks):
            inbox.look(0.0001)
        for queue in queues:
            send(other, queue, queue.name)
        inbox.wait(1)
        inbox.look()
        assert Inbox(other, *queues).wait(1) != inbox.payloads
