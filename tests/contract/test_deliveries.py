"""A message on its way: published, received, acknowledged, rejected, given back."""

from __future__ import annotations

import pytest
from kombu.simple import SimpleQueue

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import BROKERS, promised
from tests.support.processes import start_python


@promised()
def test_what_was_waiting_comes_in_order(broker: Broker) -> None:
    """More of it than one read of any transport takes."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(300))
        assert Inbox(connection, queue).wait(300) == list(range(300))


@promised()
def test_what_is_published_to_a_waiting_consumer_comes_in_order(broker: Broker) -> None:
    """The consumer waits in a blocking read when the first arrives."""
    queue = broker.queue()
    with broker.connect() as connection, broker.connect() as other:
        inbox = Inbox(connection, queue)
        inbox.look()
        for number in range(5):
            send(other, queue, number)
            inbox.wait(number + 1)
        assert inbox.payloads == list(range(5))


@promised()
@pytest.mark.parametrize("prefetch", [1, 3], ids=["one", "three"])
def test_a_consumer_takes_its_prefetch_count_and_leaves_the_rest(broker: Broker, prefetch: int) -> None:
    """The second consumer gets everything else, however long the first is busy."""
    queue = broker.queue()
    with broker.connect() as connection, broker.connect() as other:
        send(connection, queue, *range(10))
        first = Inbox(connection, queue, prefetch=prefetch)
        assert first.wait(prefetch) == list(range(prefetch))
        first.look()
        second = Inbox(other, queue)
        assert second.wait(10 - prefetch) == list(range(prefetch, 10))
        first.look()
        assert len(first.messages) == prefetch


@promised()
def test_a_prefetch_count_of_0_is_no_limit(broker: Broker) -> None:
    """Everything comes without a single acknowledgement."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(150))
        inbox = Inbox(connection, queue, prefetch=0)
        inbox.wait(150)
        assert broker.ready(queue) == 0


@promised()
def test_an_acknowledgement_makes_room_for_one_more(broker: Broker) -> None:
    """With a prefetch count of 1 each has to be acknowledged before the next comes."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(4))
        inbox = Inbox(connection, queue, prefetch=1)
        seen = []
        for _ in range(4):
            seen += inbox.wait(1)
            assert len(inbox.messages) == 1
            inbox.ack_all()
        assert seen == [0, 1, 2, 3]


@promised()
def test_a_greater_prefetch_count_takes_more(broker: Broker) -> None:
    """Celery raises it while a worker runs."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(4))
        inbox = Inbox(connection, queue, prefetch=1)
        inbox.wait(1)
        inbox.consumer.qos(prefetch_count=3, apply_global=True)
        assert inbox.wait(3)[:3] == [0, 1, 2]


@promised()
def test_what_was_acknowledged_does_not_come_again(broker: Broker) -> None:
    """Whoever looks later finds an empty queue."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(20))
        inbox = Inbox(connection, queue)
        inbox.wait(20)
        inbox.ack_all()
    broker.wait_for_ready(queue, 0)
    with broker.connect() as connection:
        send(connection, queue, "next")
        assert Inbox(connection, queue).wait(1) == ["next"]


@promised("keys_of_its_own")
def test_an_acknowledgement_deletes_the_entry(broker: Broker) -> None:
    """The stream is empty and nothing is pending, as soon as the connection is closed or a moment later."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(20))
        inbox = Inbox(connection, queue)
        inbox.wait(20)
        inbox.ack_all()
    with broker.client() as client:
        assert client.xlen(f"stream:{queue.name}") == 0
        assert client.xpending(f"stream:{queue.name}", "workers")["pending"] == 0


@promised()
def test_a_reject_without_requeue_drops_the_message(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, "bad", "good")
        inbox = Inbox(connection, queue)
        inbox.wait(2)
        inbox.messages[0].reject()
    with broker.connect() as connection:
        assert Inbox(connection, queue).wait(1) == ["good"]


@promised()
def test_a_reject_with_requeue_gives_it_back_marked(broker: Broker) -> None:
    """The first delivery is not marked, the second is."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, "again")
        inbox = Inbox(connection, queue)
        inbox.wait(1)
        assert not inbox.messages[0].delivery_info.get("redelivered")
        inbox.messages[0].requeue()
        assert inbox.wait(2) == ["again", "again"]
        assert inbox.messages[1].delivery_info["redelivered"]
        inbox.messages[1].ack()
    broker.wait_for_ready(queue, 0)


@promised("requeues_in_place")
def test_a_requeued_message_comes_before_those_behind_it(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(4))
        inbox = Inbox(connection, queue, prefetch=1)
        inbox.wait(1)
        first = inbox.messages[0]
        if broker.kind == "rabbitmq":  # there the place it frees may be filled before it is back in its own
            inbox.consumer.cancel()
            first.requeue()
            inbox = Inbox(connection, queue, prefetch=1)
            assert inbox.wait(1) == [0]
        else:
            first.requeue()
            assert inbox.wait(2) == [0, 0]


@promised("counts_deliveries")
def test_a_message_says_how_often_it_came_in_vain(broker: Broker) -> None:
    """Given back by a reject counts, given back by closing the connection does not: nobody had begun it."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, "counted")
        inbox = Inbox(connection, queue)
        for number in range(3):
            inbox.wait(number + 1)
            assert inbox.messages[-1].headers.get("x-delivery-count", 0) == number
            if number < 2:
                inbox.messages[-1].requeue()
    with broker.connect() as connection:
        inbox = Inbox(connection, queue)
        inbox.wait(1)
        assert inbox.messages[0].headers["x-delivery-count"] == 2
        assert inbox.messages[0].delivery_info["redelivered"]


HOLDING = """
import sys, time
from tests.contract.brokers import Broker, Inbox
broker = Broker(*sys.argv[1:])
with broker.connect(claim_after=1) as connection:
    inbox = Inbox(connection, broker.queue())
    inbox.wait(2)
    inbox.messages[0].ack()
    inbox.look(0.5)
    print("holds", flush=True)
    time.sleep(600)
"""


@promised("returns_from_the_dead")
def test_what_a_killed_process_held_comes_again_marked(broker: Broker) -> None:
    """SIGKILL. Where deliveries are counted, that one counts: it may have been what killed it."""
    queue = broker.queue()
    with broker.connect(claim_after=1) as connection:
        send(connection, queue, "done", "held", "waiting")
        process = start_python("-c", HOLDING, broker.kind, broker.url, broker.redis_url, broker.name)
        process.wait_for_log("^holds$")
        process.kill9()
        inbox = Inbox(connection, queue)
        assert sorted(inbox.wait(2)) == ["held", "waiting"]
        held = inbox.messages[inbox.payloads.index("held")]
        assert held.delivery_info["redelivered"]
        if not BROKERS[broker.kind].counts_deliveries:
            assert held.headers["x-delivery-count"] == 1
        inbox.ack_all()
    broker.wait_for_ready(queue, 0)


@promised()
@pytest.mark.parametrize("closed", ["connection", "channel"])
def test_what_a_closed_consumer_held_comes_again_at_once(broker: Broker, closed: str) -> None:
    """All of it, and nothing of what was acknowledged."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(6))
        inbox = Inbox(connection, queue, prefetch=4)
        inbox.wait(4)
        inbox.messages[1].ack()
        if closed == "channel":
            inbox.channel.close()
            with broker.connect() as other:
                assert sorted(Inbox(other, queue).wait(5)) == [0, 2, 3, 4, 5]
            return
    with broker.connect() as other:
        assert sorted(Inbox(other, queue).wait(5)) == [0, 2, 3, 4, 5]


@promised("returns_in_order")
def test_what_a_closed_connection_held_comes_again_in_its_order(broker: Broker) -> None:
    """Before what was behind it."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, *range(6))
        Inbox(connection, queue, prefetch=4).wait(4)
    broker.wait_for_ready(queue, 6)
    with broker.connect() as connection:
        assert Inbox(connection, queue).wait(6) == list(range(6))


@promised()
def test_recover_gives_everything_back(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1, 2)
        inbox = Inbox(connection, queue)
        inbox.wait(2)
        inbox.consumer.recover(requeue=True)
        assert sorted(inbox.wait(4)[2:]) == [1, 2]


@promised()
def test_a_consumer_without_acknowledgement_holds_nothing(broker: Broker) -> None:
    """What it received is gone, and nothing comes again when it closes."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1, 2, 3)
        assert Inbox(connection, queue, no_ack=True).wait(3) == [1, 2, 3]
    broker.wait_for_ready(queue, 0)


@promised()
def test_basic_get_takes_one_and_holds_it(broker: Broker) -> None:
    """It is given back by a reject and by closing, and gone once acknowledged."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1, 2)
        bound = queue.bind(connection.default_channel)
        first = bound.get()
        assert first.payload == 1
        assert broker.ready(queue) == 1
        first.reject(requeue=True)
        broker.wait_for_ready(queue, 2)
        held = bound.get()
        bound.get().ack()
        assert bound.get() is None
        held = held.payload
    broker.wait_for_ready(queue, 1)
    with broker.connect() as connection:
        bound = queue.bind(connection.default_channel)
        again = bound.get()
        assert again.payload == held
        again.ack()
    broker.wait_for_ready(queue, 0)


@promised()
def test_basic_get_without_acknowledgement_takes_for_good(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1)
        bound = queue.bind(connection.default_channel)
        assert bound.get(no_ack=True).payload == 1
        assert bound.get(no_ack=True) is None
    broker.wait_for_ready(queue, 0)


@promised()
def test_a_simple_queue_works(broker: Broker) -> None:
    """put, get, get_nowait, qsize and clear, as an application without Celery uses them."""
    with broker.connect() as connection:
        simple = SimpleQueue(connection, broker.name)
        for number in range(5):
            simple.put({"n": number})
        assert simple.qsize() == 5
        message = simple.get(timeout=10)
        assert message.payload == {"n": 0}
        message.ack()
        rest = simple.get(timeout=10)
        rest.reject()
        simple.clear()
        with pytest.raises(simple.Empty):
            simple.get_nowait()
        simple.close()


@promised("keeps_on_cancel")
def test_a_cancelled_consumer_takes_nothing_more(broker: Broker) -> None:
    """Not even by the read that was under way: all that comes afterwards goes to another consumer."""
    queue = broker.queue()
    with broker.connect() as connection, broker.connect() as other:
        cancelled = Inbox(connection, queue)
        cancelled.look()
        cancelled.consumer.cancel()
        send(other, queue, *range(5))
        assert Inbox(other, queue).wait(5) == list(range(5))
        cancelled.look()
        assert cancelled.messages == []


@promised()
def test_a_cancelled_consumer_can_start_again(broker: Broker) -> None:
    """And still holds what it had not acknowledged: `celery control cancel_consumer`, then `add_consumer`."""
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, 1)
        inbox = Inbox(connection, queue)
        inbox.wait(1)
        inbox.consumer.cancel()
        send(connection, queue, 2)
        inbox.consumer.consume()
        assert inbox.wait(2) == [1, 2]
        inbox.ack_all()
    broker.wait_for_ready(queue, 0)
