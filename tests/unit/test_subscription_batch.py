"""What messages become where workers of two releases share a queue."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest

from events_core import EventSystem, NotificationEvent
from events_core.brokers import InMemoryBroker, Received
from events_core.brokers.formats import format_named
from events_core.envelope import Envelope
from events_core.subscribers import subscribed_queues
from events_worker.subscriptions.batch import Batch, Sorter
from events_worker.subscriptions.neighbours import Asked, Neighbours, asked_for

KEY = "notification_event.batch.placed"
THEIRS = Asked("orders", KEY, "batch.new", "batch.mail", 2)
CLOUDEVENTS = format_named("cloudevents")


class Placed(NotificationEvent, event_type="batch.placed", topic="orders"):
    tag: str


class PlacedLater(NotificationEvent, event_type="batch.placed", version=3):
    tags: list[str]


class Moved(NotificationEvent, event_type="batch.moved", topic="crm"):
    tag: str


class Stub:
    """Instead of a Redis: neighbours of which everything is known."""

    client = None

    def key(self, name: str) -> str:
        return name


def sorter(*theirs: Asked, fmt: Any = CLOUDEVENTS, takes_all: bool = False) -> Sorter:
    system = EventSystem("batch", broker_url="redis://127.0.0.1:1/0", message_broker=InMemoryBroker())
    system.subscriber(events=[Placed], name="batch.mine", aliases=["batch.before"])(lambda event: None)
    system.subscriber(events=[Moved], name="batch.move", queue="batch.orders")(lambda event: None)
    queue = subscribed_queues(system.event_map.subscribers)[0]
    mine = Asked("orders", KEY, "batch.mine", "batch.events", 1, ("batch.before",))
    neighbours = Neighbours(Stub(), queue.name, [mine], 900.0)  # type: ignore[arg-type]
    neighbours._keep(list(theirs))
    return Sorter(system, queue, fmt, neighbours, takes_all=takes_all)


def message(version: int | None = 1, event_type: str = "batch.placed", topic: str = "orders", **data: Any) -> Received:
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/orders",
        "type": event_type,
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "data": data,
    }
    if version is not None:
        document["eventversion"] = version
    body = json.dumps(document).encode()
    return Received(body, CLOUDEVENTS.content_type, type=event_type, topic=topic, routing_key=KEY)


def decided(one: Sorter, *messages: Received) -> Batch:
    return one.sort(messages)


def made(batch: Batch) -> list[tuple[str, str]]:
    return [(message.delivery.handler, message.delivery.queue) for message in batch.messages]


def letters(batch: Batch) -> list[tuple[str | None, str]]:
    return [(letter.handler, letter.reason) for letter in batch.letters]


def counted(batch: Batch) -> dict[str, int]:
    return {what: number for what, number in batch.counts.items() if number and what != "received"}


def test_what_a_worker_asks_for() -> None:
    """With all names of its handler, and the newest version that it knows, whichever class the handler named."""
    system = EventSystem("batch", broker_url="redis://127.0.0.1:1/0", message_broker=InMemoryBroker())
    system.subscriber(events=[Placed], name="batch.mine", aliases=["batch.before"])(lambda event: None)
    [queue] = subscribed_queues(system.event_map.subscribers)
    assert asked_for(system, queue) == [Asked("orders", KEY, "batch.mine", "batch.events", 1, ("batch.before",), 3)]


@pytest.mark.parametrize(
    "received, reason", [(message(2, labels=["a"]), "unknown_event"), (message(1, labels=["a"]), "invalid")]
)
def test_what_cannot_be_read_here_may_be_a_strangers(received: Received, reason: str) -> None:
    """It gets its delivery; the handler that is known here its dead letter."""
    batch = decided(sorter(THEIRS), received)
    assert (made(batch), letters(batch)) == ([("batch.new", "batch.mail")], [("batch.mine", reason)])
    assert counted(batch) == {"delivered": 1, reason: 1}


@pytest.mark.parametrize("received", [message(1, topic="crm", tag="a"), message(2, topic="crm", labels=["a"])])
def test_also_on_a_topic_where_nobody_here_asked_for_it(received: Received) -> None:
    """The queue is bound to that by something else."""
    batch = decided(sorter(THEIRS._replace(topic="crm")), received)
    assert (made(batch), letters(batch)) == ([("batch.new", "batch.mail")], [])
    assert "skipped" not in counted(batch)
    assert counted(decided(sorter(), received)) == {"skipped": 1}


class TestTheSameHandlerInANewerWorker:
    @pytest.mark.parametrize(
        "theirs, name",
        [
            (Asked("orders", KEY, "batch.mine", "batch.mail", 2), "batch.mine"),
            (Asked("orders", KEY, "batch.later", "batch.mail", 3, ("batch.mine",)), "batch.mine"),
            (Asked("orders", KEY, "batch.before", "batch.mail", 2), "batch.before"),
        ],
    )
    def test_gets_the_version_that_it_knows(self, theirs: Asked, name: str) -> None:
        """By a name that both know: the delivery is held until it takes it."""
        batch = decided(sorter(theirs), message(2, labels=["a"]))
        assert (made(batch), letters(batch)) == ([(name, "batch.mail")], [])
        assert json.loads(batch.messages[0].body)[0][0]["version"] == 2
        assert counted(batch) == {"delivered": 1}

    @pytest.mark.parametrize("received, reason", [(message(4), "unknown_event"), (message(1), "invalid")])
    def test_but_not_one_that_it_does_not_know_nor_what_fits_nowhere(self, received: Received, reason: str) -> None:
        batch = decided(sorter(THEIRS._replace(handler="batch.mine")), received)
        assert (made(batch), letters(batch)) == ([], [("batch.mine", reason)])


class TestTheSameHandlerForMoreThanHere:
    """The newer release gives it another event, or hears it on another topic too."""

    def test_another_event(self) -> None:
        also = THEIRS._replace(handler="batch.mine", routing_key="notification_event.batch.other")
        batch = decided(sorter(also), message(event_type="batch.other"))
        assert made(batch) == [("batch.mine", "batch.mail")]

    def test_another_topic(self) -> None:
        """The event from there is its alone, and not that of a handler here that hears it elsewhere."""
        also = THEIRS._replace(handler="batch.mine", topic="stock")
        batch = decided(sorter(also), message(topic="stock", tag="a"), message(tag="a"))
        assert made(batch) == [("batch.mine", "batch.mail"), ("batch.mine", "batch.events")]
        another = THEIRS._replace(topic="stock")
        assert made(decided(sorter(another), message(topic="stock", tag="a"))) == [("batch.new", "batch.mail")]


@pytest.mark.parametrize("type_here", ["batch.placed", "batch.other"])
def test_of_an_event_that_tells_no_version_a_stranger_has_its_own(type_here: str) -> None:
    """Not the one of a class here."""
    theirs = THEIRS._replace(version=7, routing_key=f"notification_event.{type_here}")
    batch = decided(sorter(theirs), message(None, event_type=type_here, tag="a"))
    (delivery,) = [one for one in batch.messages if one.delivery.handler == "batch.new"]
    assert json.loads(delivery.body)[0][0]["version"] == 7


class TestSkipped:
    def test_nobody_asked_for_it(self) -> None:
        batch = decided(sorter(THEIRS), message(event_type="batch.other"))
        assert (made(batch), letters(batch)) == ([], [])
        assert (counted(batch), batch.unasked) == ({"skipped": 1}, "batch.other")

    def test_the_kind_is_the_neighbours(self) -> None:
        """An entry of a stream may not tell it: the receiver makes one up."""
        other = THEIRS._replace(routing_key="ecst_event.batch.other")
        batch = decided(sorter(other), message(event_type="batch.other"))
        assert json.loads(batch.messages[0].body)[0][0]["kind"] == "ecst_event"


class TestOfAllThatAStreamHas:
    OTHERS = (
        Received(b"garbage", type="batch.other", topic="orders"),
        Received(b"x" * 2_000_000, type="batch.other", topic="orders"),
    )

    def test_what_is_of_others_is_skipped_whatever_it_is(self) -> None:
        batch = decided(sorter(THEIRS, takes_all=True), *self.OTHERS)
        assert (letters(batch), counted(batch)) == ([], {"skipped": 2})

    def test_unless_a_neighbour_asked_for_it(self) -> None:
        other = THEIRS._replace(routing_key="notification_event.batch.other")
        batch = decided(sorter(other, takes_all=True), *self.OTHERS, message(event_type="batch.other"))
        assert letters(batch) == [(None, "undecodable"), (None, "oversize")]
        assert made(batch) == [("batch.new", "batch.mail")]

    def test_what_tells_no_type_is_looked_at(self) -> None:
        batch = decided(sorter(takes_all=True), Received(b"garbage", topic="orders"))
        assert letters(batch) == [(None, "undecodable")]


class Panic(BaseException):
    """As pyo3's, which is no Exception."""


class Panicking:
    """A format of the application's."""

    name, content_type = "own", "application/own"

    def __init__(self, good: Iterable[int]) -> None:
        self._good = iter(good)

    def decode(self, received: Received) -> Envelope:
        if not next(self._good):
            raise Panic("secret")
        return Envelope(str(uuid4()), "batch.other", 1, "", "2026-01-02T03:04:05Z", "c", None, 0, b"{}")


@pytest.mark.parametrize("good", [[0], [1, 0]])
def test_a_format_that_panics(good: list[int]) -> None:
    """While the message is looked at, or decoded for a neighbour: it is refused, and the values are not told."""
    other = THEIRS._replace(routing_key="notification_event.batch.other")
    batch = decided(sorter(other, fmt=Panicking(good)), Received(b"{}", "application/own", topic="orders"))
    assert letters(batch) == [(None, "undecodable")]
    assert "secret" not in batch.letters[0].error
