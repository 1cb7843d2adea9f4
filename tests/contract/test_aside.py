"""What has been read, and is settled without being delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import kombu
import pytest

from events_core.transport.channel import Channel
from events_core.transport.reading import Read
from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised
from tests.support.waiting import wait_until


class Sieve:
    """Puts aside so many; keeps the tags, and how many came in each read. room: bytes, however many it has."""

    def __init__(self) -> None:
        self.takes = 1000
        self.room = 1_000_000
        self.tags: list[str] = []
        self.reads: list[int] = []

    def __call__(self, channel: Channel, found: list[Read]) -> list[Read]:
        self.reads.append(len(found))
        taken = found[: max(self.takes - len(self.tags), 0)]
        for read in taken:
            channel.aside.put(read)
            self.tags.append(read[0])
        return found[len(taken) :]


@pytest.fixture
def sieve() -> Sieve:
    return Sieve()


@pytest.fixture
def connection(broker: Broker, sieve: Sieve) -> Iterator[kombu.Connection]:
    with broker.connect() as connection:
        connection.transport.sift = sieve
        yield connection


def elsewhere(call: Callable[[str], None], *tags: str) -> None:
    for tag in tags:
        thread = threading.Thread(target=call, args=(tag,))
        thread.start()
        thread.join()


def take(inbox: Inbox, sieve: Sieve, count: int) -> None:
    """Read until so many are aside, and nothing more comes."""
    while len(sieve.tags) < count:
        inbox.look()
    inbox.look()
    assert (len(sieve.tags), inbox.messages) == (count, [])


@promised("sets_aside")
def test_it_takes_no_place_in_the_prefetch_window(broker: Broker, connection: kombu.Connection, sieve: Sieve) -> None:
    """Eleven are read, none waits for another to be settled. Acknowledged, they are gone."""
    queue = broker.queue()
    send(connection, queue, *range(11))
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 11)
    elsewhere(inbox.channel.aside.acknowledge, *sieve.tags)
    connection.close()
    assert broker.ready(queue) == 0


@promised("sets_aside")
@pytest.mark.parametrize(("room", "reads"), [(1_000_000, [2, 9]), (1, [2, 2, 2, 2, 2, 1])])
def test_long_reads_while_all_is_put_aside(
    broker: Broker, connection: kombu.Connection, sieve: Sieve, room: int, reads: list[int]
) -> None:
    """As far as there is room for messages of the size of those before."""
    queue = broker.queue()
    send(connection, queue, *range(11))
    sieve.room = room
    take(Inbox(connection, queue, prefetch=2), sieve, 11)
    assert sieve.reads == reads


@promised("sets_aside")
def test_what_a_long_read_brings_beyond_the_window_goes_back(
    broker: Broker, connection: kombu.Connection, sieve: Sieve
) -> None:
    """Three are put aside, in reads of two and of nine. Two of the other eight are delivered; six are anybody's, and
    come as they lay in the queue, none counted as delivered in vain.
    """
    queue = broker.queue()
    send(connection, queue, *range(11))
    sieve.takes = 3
    inbox = Inbox(connection, queue, prefetch=2)
    assert inbox.wait(2) == [3, 4]
    assert (sieve.reads, broker.ready(queue)) == ([2, 9], 6)
    while len(inbox.messages) < 8:
        for message in inbox.messages[-2:]:
            message.ack()
        inbox.wait(len(inbox.messages) + 2)
    assert inbox.payloads == list(range(3, 11))
    assert not any("x-delivery-count" in message.headers for message in inbox.messages)
    assert max(sieve.reads[2:]) == 2, "reads are short again"


@promised("sets_aside")
def test_delivered_after_all_it_takes_a_place(broker: Broker, connection: kombu.Connection, sieve: Sieve) -> None:
    queue = broker.queue()
    send(connection, queue, *range(5))
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 5)
    elsewhere(inbox.channel.aside.deliver, *sieve.tags[1:])
    inbox.look()
    assert inbox.payloads == [1, 2], "the window is full"
    elsewhere(lambda _: inbox.messages[0].ack(), "")
    assert inbox.wait(3) == [1, 2, 3]
    elsewhere(inbox.channel.aside.acknowledge, sieve.tags[0])
    inbox.look()
    assert len(inbox.messages) == 3, "what was aside leaves no place"


@promised("sets_aside")
def test_nothing_is_read_while_there_is_no_room(broker: Broker, connection: kombu.Connection, sieve: Sieve) -> None:
    queue = broker.queue()
    send(connection, queue, *range(5))
    inbox = Inbox(connection, queue, prefetch=2)
    sieve.room = 0
    inbox.look()
    assert (sieve.reads, broker.ready(queue)) == ([], 5)
    sieve.room = 1_000_000
    take(inbox, sieve, 5)


@promised("sets_aside")
@pytest.mark.parametrize("how", ["closed", "lost", "cancelled"])
def test_its_queue_gets_it_back(broker: Broker, connection: kombu.Connection, sieve: Sieve, how: str) -> None:
    """Unless it was acknowledged before. What is said of it afterwards has no effect."""
    queue = broker.queue()
    send(connection, queue, *range(5))
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 5)
    aside = inbox.channel.aside
    elsewhere(aside.acknowledge, sieve.tags[0])
    elsewhere(aside.deliver, sieve.tags[1])
    if how == "closed":
        inbox.channel.close()
    elif how == "lost":
        connection.transport.cycle.failed = True
        inbox.channel.close()
    else:
        inbox.consumer.cancel()
        elsewhere(aside.deliver, *sieve.tags[2:])
    with broker.connect() as other:
        inbox = Inbox(other, queue)
        if how == "cancelled":
            with pytest.raises(TimeoutError):  # the first one's, which gives back what nobody consumes
                connection.drain_events(timeout=0.05)
        assert sorted(inbox.wait(4)) == [1, 2, 3, 4]
        if how != "cancelled":
            elsewhere(aside.acknowledge, *sieve.tags[1:])
            elsewhere(aside.deliver, *sieve.tags[1:])
        inbox.look()
        inbox.ack_all()
    assert broker.ready(queue) == 0


@promised("sets_aside")
def test_the_end_waits_for_what_is_being_settled(broker: Broker, connection: kombu.Connection, sieve: Sieve) -> None:
    """Its queue does not get back what has begun elsewhere. Nothing begins any more."""
    queue = broker.queue()
    send(connection, queue, *range(3))
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 3)
    aside = inbox.channel.aside
    assert aside.begin(sieve.tags[0])
    ending = threading.Thread(target=inbox.channel.close)
    ending.start()
    wait_until(lambda: not aside.begin(sieve.tags[1]), what="the end to begin")
    assert ending.is_alive()
    aside.acknowledge(sieve.tags[0])
    ending.join(30)
    assert not ending.is_alive()
    with broker.connect() as other:
        inbox = Inbox(other, queue)
        assert inbox.wait(2) == [1, 2]
        inbox.ack_all()
    assert broker.ready(queue) == 0


@promised("sets_aside")
def test_what_is_being_settled_stays_ours_when_the_connection_is_lost(
    broker: Broker, connection: kombu.Connection, sieve: Sieve
) -> None:
    """However long that takes. Nobody waits for it; what is not settled after all goes back."""
    queue = broker.queue()
    send(connection, queue, *range(4))
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 4)
    aside, begun = inbox.channel.aside, sieve.tags[:2]
    assert all(aside.begin(tag) for tag in begun)
    connection.transport.cycle.failed = True
    inbox.channel.close()
    with broker.connect() as other:
        inbox = Inbox(other, queue)
        assert inbox.wait(2) == [2, 3], "those that had not begun"
        elsewhere(aside.acknowledge, begun[0])
        elsewhere(aside.deliver, begun[1])
        assert inbox.wait(3) == [2, 3, 1]
        inbox.ack_all()
    assert broker.ready(queue) == 0


@promised("sets_aside")
def test_the_end_does_not_wait_for_ever(
    broker: Broker, connection: kombu.Connection, sieve: Sieve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still being settled then comes again."""
    monkeypatch.setattr("events_core.transport.aside._END", 0.05)
    queue = broker.queue()
    send(connection, queue, 0)
    inbox = Inbox(connection, queue, prefetch=2)
    take(inbox, sieve, 1)
    aside = inbox.channel.aside
    assert aside.begin(sieve.tags[0])
    inbox.channel.close()
    aside.acknowledge(sieve.tags[0])
    with broker.connect() as other:
        assert Inbox(other, queue).wait(1) == [0]
