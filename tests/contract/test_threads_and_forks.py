"""Threads and forked processes that share a connection."""

from __future__ import annotations

import queue as queues
import threading

import kombu

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised
from tests.support.processes import start_python


@promised("acks_from_threads")
def test_threads_acknowledge_what_another_received(broker: Broker) -> None:
    """As in Celery's pool of threads: the window is refilled, nothing is left and nothing comes twice."""
    queue = broker.queue()
    done: queues.SimpleQueue[kombu.Message | None] = queues.SimpleQueue()

    def acknowledge() -> None:
        while (message := done.get()) is not None:
            message.ack()

    threads = [threading.Thread(target=acknowledge) for _ in range(4)]
    for thread in threads:
        thread.start()
    with broker.connect() as connection:
        send(connection, queue, *range(200))
        inbox = Inbox(connection, queue, prefetch=10)

        def receive(message: kombu.Message) -> None:
            inbox.messages.append(message)
            done.put(message)

        inbox.consumer.on_message = receive
        try:
            assert inbox.wait(200) == list(range(200))
        finally:
            for _ in threads:
                done.put(None)
            for thread in threads:
                thread.join()
    broker.wait_for_ready(queue, 0)


@promised("acks_from_threads")
def test_a_thread_may_reject_and_requeue(broker: Broker) -> None:
    queue = broker.queue()
    with broker.connect() as connection:
        send(connection, queue, "back", "away")
        inbox = Inbox(connection, queue)
        inbox.wait(2)
        acts = [inbox.messages[0].requeue, inbox.messages[1].reject]
        threads = [threading.Thread(target=act) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert inbox.wait(3)[2] == "back"
        inbox.messages[2].ack()
    broker.wait_for_ready(queue, 0)


FORKING = """
import os, sys
from tests.contract.brokers import Broker, Inbox, send

kind, url, redis_url, name, how = sys.argv[1:]
broker = Broker(kind, url, redis_url, name)
queue = broker.queue()
connection = broker.connect()
send(connection, queue, "held", "held too")
inbox = Inbox(connection, queue)
inbox.wait(2)
child = os.fork()
if child == 0:
    status = 1
    try:
        if how == "inherited":
            send(connection, queue, "from the child")
        else:
            with broker.connect() as own:
                send(own, queue, "from the child")
                # one of its own, so that the child's window and the parent's are told apart
                other = broker.queue("-child")
                send(own, other, 1, 2)
                second = Inbox(own, other)
                second.wait(2)
                second.messages[0].ack()
        status = 0
    finally:
        sys.stderr.flush()
        (os._exit if how == "inherited" else sys.exit)(status)
assert os.waitpid(child, 0)[1] == 0, "the child failed"
assert inbox.wait(3) == ["held", "held too", "from the child"], inbox.payloads
for message in inbox.messages:
    assert not message.delivery_info.get("redelivered")
inbox.ack_all()
send(connection, queue, "after")
assert inbox.wait(1) == ["after"]
inbox.ack_all()
connection.close()
print("done")
"""


def fork(broker: Broker, how: str) -> None:
    """Runs a process that has used its connection, forks, and goes on."""
    arguments = (broker.kind, broker.url, broker.redis_url, broker.name, how)
    process = start_python("-c", FORKING, *arguments, name=f"a process that forks ({how})")
    assert process.wait() == 0, process.log
    assert "done" in process.log
    broker.wait_for_ready(broker.queue(), 0)


@promised()
def test_a_forked_child_with_its_own_connection_disturbs_nobody(broker: Broker) -> None:
    """The parent keeps what it held; what the child had not acknowledged when it ended comes again."""
    fork(broker, "own")
    broker.wait_for_ready(broker.queue("-child"), 1)


@promised("survives_fork")
def test_a_forked_child_may_publish_over_what_it_inherited(broker: Broker) -> None:
    """And ends without giving back what its parent holds."""
    fork(broker, "inherited")
