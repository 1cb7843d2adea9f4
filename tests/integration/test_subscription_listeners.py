"""The threads that listen, of two releases on one queue, on a real Redis."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis

from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker, MessageBroker, Receiver, RedisStreamBroker, Subscription
from events_core.envelope import Envelope
from events_core.subscribers import subscribed_queues
from events_worker.parts import parts_of
from events_worker.subscriptions import listener as listening
from events_worker.subscriptions import neighbours, tally
from events_worker.subscriptions.listener import Listener
from events_worker.subscriptions.tally import Tally, consumers_of, counts_of
from events_worker.subscriptions.topology import declared_bindings
from tests.support.waiting import wait_until

QUEUE = "deploying.both"
WHEN = {"occurred_at": "2026-01-02T03:04:05Z"}
BROKERS = pytest.mark.parametrize("make", [ExchangeBroker, RedisStreamBroker])


class Known(NotificationEvent, event_type="listeners.known", topic="first"):
    number: int = 0


class Added(NotificationEvent, event_type="listeners.added", topic="first"):
    number: int = 0


class Elsewhere(NotificationEvent, event_type="listeners.elsewhere", topic="second"):
    number: int = 0


class Deploy:
    """Releases of one service on one queue, and another service that emits."""

    def __init__(self, url: str, make: type[ExchangeBroker | RedisStreamBroker]) -> None:
        self.url = url
        self.client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)
        self._make = make
        self._listeners: list[Listener] = []
        self._numbers = count()
        self.broker = make(url)
        self.others = EventSystem("other", broker_url=url, message_broker=self.broker)

    def listener(self, *events: type[NotificationEvent], broker: MessageBroker | None = None) -> Listener:
        """One of a release with a handler for each of these, listening."""
        system = EventSystem("deploying", broker_url=self.url, message_broker=broker or self._make(self.url))
        for event in events:
            system.subscriber(events=[event], name=f"on.{event.event_type}", queue=QUEUE)(lambda event: None)
        [queue] = subscribed_queues(system.event_map.subscribers)
        self.coordination = parts_of(system).coordination
        assert system.message_broker is not None
        made = Listener(system, parts_of(system), system.message_broker, queue)
        made.start()
        self._listeners.append(made)
        wait_until(lambda: made._neighbours._me in self.asking, what="it to ask")
        wait_until(lambda: made._tally._me in consumers_of(self.coordination, QUEUE), what="it to listen")
        return made

    @property
    def asking(self) -> list[str]:
        return self.client.hkeys(f"deploying:subscription:{QUEUE}:asked")  # type: ignore[return-value]

    @property
    def counts(self) -> dict[str, int]:
        return counts_of(self.coordination, QUEUE)

    def deliveries(self, event: type[NotificationEvent]) -> int:
        """How many there are for its handler on the Celery queue."""
        entries: Any = self.client.xrange("stream:deploying.events")
        return sum(f"on.{event.event_type}" in "".join(fields.values()) for _, fields in entries)

    def put(self, event: NotificationEvent) -> None:
        """Straight into the queue, whatever that is bound to."""
        assert isinstance(self.broker, ExchangeBroker)
        assert event.topic is not None
        self.broker.publish_to(QUEUE, [self.broker.message(event, Envelope.of(event), event.topic)], 5)

    def stop(self, *listeners: Listener) -> None:
        for one in listeners:
            one.ask_to_stop()
        for one in listeners:
            one.finish()

    def close(self) -> None:
        self.stop(*self._listeners)
        self.others.close()
        self.client.close()


@contextlib.contextmanager
def deploy(url: str, make: type[ExchangeBroker | RedisStreamBroker]) -> Iterator[Deploy]:
    made = Deploy(url, make)
    try:
        yield made
    finally:
        made.close()


@BROKERS
@pytest.mark.parametrize("added", [Added, Elsewhere])
def test_what_only_a_newer_worker_asked_for_is_taken_while_it_is_away(
    make: type[ExchangeBroker | RedisStreamBroker],
    added: type[NotificationEvent],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It restarts while only an older one listens, which takes its events too, of a new type and of a new topic.
    Another older one that starts meanwhile unbinds nothing.
    """
    monkeypatch.setattr(neighbours, "_EVERY", 0.1)
    monkeypatch.setattr(tally, "_TELL_EVERY", 0.1)
    with deploy(redis_url, make) as made:
        old = made.listener(Known)
        new = made.listener(Known, added)
        wait_until(lambda: len(old._declared_for) == 2, what="the older one to have heard of it")
        made.stop(new)
        made.stop(made.listener(Known))
        bound = declared_bindings(made.coordination, QUEUE)
        assert {routing_key.partition(".")[2] for _, routing_key in bound} == {Known.event_type, added.event_type}
        for number in range(5):
            made.others.emit_many([Known(number=number), added(number=number)])
        for event in (Known, added):
            wait_until(lambda event=event: made.deliveries(event) == 5, what=event.event_type)  # type: ignore[misc]
        assert made.counts["skipped"] == 0


def test_who_was_killed_listens_no_more(redis_url: str) -> None:
    """Its name is cleared away by those that live: no process that follows has it."""
    with deploy(redis_url, ExchangeBroker) as made:
        key = f"deploying:subscription:{QUEUE}:consumers"
        made.client.zadd(key, {"host:1:dead": time.time() - 60})
        one = made.listener(Known)
        assert consumers_of(made.coordination, QUEUE) == made.client.zrange(key, 0, -1) == [one._tally._me]
        assert one._tally._me != Tally(made.coordination, QUEUE)._me
        made.stop(one)
        assert consumers_of(made.coordination, QUEUE) == []
        assert made.asking == [one._neighbours._me]


def test_neighbours_are_heard_after_a_message_came(redis_url: str) -> None:
    """Not before: the newer one has said what it asks for before anything came because of it."""
    with deploy(redis_url, ExchangeBroker) as made:
        made.listener(Known)
        for round in range(1, 4):
            made.put(Elsewhere())
            wait_until(lambda round=round: made.counts["skipped"] == round, what="it to be skipped")  # type: ignore[misc]
        new = made.listener(Known, Added)
        made.stop(new)
        made.put(Added())
        wait_until(lambda: made.deliveries(Added) == 1, what="the delivery")
        assert made.counts["skipped"] == 3


@BROKERS
def test_types_that_nobody_asked_for_are_told_of(
    make: type[ExchangeBroker | RedisStreamBroker], redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another service on the queue eats its events: one warning a minute. A stream has events of every type."""
    with deploy(redis_url, make) as made:
        made.listener(Known)
        for number in range(1, 4):
            if make is ExchangeBroker:
                made.put(Added(number=number))
            else:
                made.others.emit(Added(number=number))
            wait_until(lambda number=number: made.counts["skipped"] == number, what="it to be skipped")  # type: ignore[misc]
    told = [record.getMessage() for record in caplog.records if record.name.endswith("subscriptions.unasked")]
    assert len(told) == (make is ExchangeBroker)
    for line in told:
        assert f"the subscription {QUEUE}: 1 messages" in line
        assert "'listeners.added'" in line


class Ending(ExchangeBroker):
    """One whose receiver wants to end the process, the first two times."""

    ends = 2

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Receiver:
        if self.ends:
            self.ends -= 1
            raise SystemExit(3)
        return super().receiver(subscription, prefetch)


def test_nothing_ends_the_thread_but_the_worker(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "_LONGEST_PAUSE", 0.01)
    with deploy(redis_url, ExchangeBroker) as made:
        one = made.listener(Known, broker=Ending(redis_url))
        made.others.emit(Known())
        wait_until(lambda: made.deliveries(Known) == 1, what="the delivery")
        assert one.is_alive()
    failed = [record for record in caplog.records if record.levelno == logging.ERROR and "failed" in record.message]
    assert len(failed) == 2


def test_what_an_entry_does_not_tell_is_found_out(redis_url: str) -> None:
    """On one stream for all topics, from someone who tells neither topic nor kind: it is the subscriber's anyway."""
    with deploy(redis_url, ExchangeBroker) as made:
        broker = RedisStreamBroker(redis_url, stream_name="all")
        made.listener(Known, Elsewhere, broker=broker)
        for number, event in enumerate((Known, Elsewhere)):
            record = {"event_id": f"bank-{number}", "event_type": event.event_type, "payload": '{"number": 1}'} | WHEN
            made.client.xadd("all", record)  # type: ignore[arg-type]
        for event in (Known, Elsewhere):
            wait_until(lambda event=event: made.deliveries(event) == 1, what=event.event_type)  # type: ignore[misc]
