"""Redis streams beside what their contract says: the wire, trimming, groups whose consumers die, servers that fail."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
import redis

from events_core import ECSTEvent, EmitError, NotificationEvent
from events_core.brokers import Received, Receiver, RedisStreamBroker, Subscription
from events_core.brokers.redis_stream import group as redis_stream_group
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, InvalidEnvelope
from events_core.events import IntegrationEvent
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, connect
from tests.support.waiting import wait_until


class Placed(NotificationEvent, event_type="stream.order.placed"):
    number: int
    lines: list[dict[str, int]] = []


class Shipped(ECSTEvent, event_type="stream.order.shipped"):
    number: int


MAIL = Subscription("mail", frozenset({("orders", "#")}))


def publish(broker: RedisStreamBroker, *events: IntegrationEvent, topic: str = "orders") -> None:
    broker.publish([broker.message(event, Envelope.of(event), topic) for event in events], 5)


def take(receiver: Receiver, count: int) -> list[Received]:
    found: list[Received] = []
    wait_until(lambda: len(found.extend(receiver.receive(1)) or found) >= count, 30, f"{count} messages")
    return found


def numbers(broker: RedisStreamBroker, messages: list[Received]) -> list[int]:
    return [json.loads(broker.format.decode(message).data)["number"] for message in messages]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


def test_an_entry_is_a_record_with_one_field_for_each_part(redis_url: str, client: redis.Redis) -> None:
    """Read with redis-py alone. Nested values are JSON: Redis refuses others."""
    event = Placed(number=1, lines=[{"sku": 7}])
    cause = Envelope.of(Shipped(number=0))
    broker = RedisStreamBroker(redis_url)
    broker.publish([broker.message(event, Envelope.of(event, cause), "orders")], 5)
    [(_, fields)] = client.xrange("orders")
    payload = fields.pop(b"payload")
    assert json.loads(payload) == {"number": 1, "lines": [{"sku": 7}]}
    assert {name.decode(): value.decode() for name, value in fields.items()} == {
        "event_id": str(event.event_id),
        "event_type": "stream.order.placed",
        "occurred_at": event.occurred_at.isoformat(),
        "message_type": "notification_event",
        "version": "1",
        "correlation_id": cause.correlation_id,
        "causation_id": cause.id,
        "hops": "1",
    }


def test_nothing_of_an_envelope_is_lost_on_the_way(redis_url: str) -> None:
    broker = RedisStreamBroker(redis_url)
    broker.declare(MAIL)
    envelope = Envelope.of(Shipped(number=1), Envelope.of(Placed(number=0)), f"00-{1:032x}-{2:016x}-01")
    broker.publish([broker.message(Shipped(number=1), envelope, "orders")], 5)
    receiver = broker.receiver(MAIL)
    [message] = take(receiver, 1)
    receiver.close()
    assert broker.format.decode(message) == envelope
    assert message.routing_key == "ecst_event.stream.order.shipped"


def test_what_others_add_as_the_guide_says_is_received(redis_url: str, client: redis.Redis) -> None:
    """Four fields, by redis-py alone; it tells neither kind nor version."""
    broker = RedisStreamBroker(redis_url)
    queue = Subscription("mail", frozenset({("orders", "ecst_event.stream.order.shipped")}))
    broker.declare(queue)
    record = {"event_id": str(UUID(int=7)), "occurred_at": "2026-03-01T12:00:00+00:00", "payload": '{"number": 7}'}
    record["topic"] = "a field of theirs"
    client.xadd("orders", {**record, "event_type": "stream.order.placed"})
    client.xadd("orders", {**record, "event_type": "stream.order.shipped"})
    receiver = broker.receiver(queue)
    [message] = take(receiver, 1)
    receiver.close()
    envelope = broker.format.decode(message)
    assert (envelope.id, envelope.type, envelope.kind) == (str(UUID(int=7)), "stream.order.shipped", "ecst_event")
    assert json.loads(envelope.data) == {"number": 7}


@pytest.mark.parametrize(
    "fields", [{"a": "b"}, {"payload": "{"}, {"event_type": "\xff", "payload": b"\xff\x00"}, {"body": b"\x80"}]
)
def test_any_entry_arrives_and_none_decodes_by_mistake(
    redis_url: str, client: redis.Redis, fields: dict[str | bytes, bytes | str]
) -> None:
    broker = RedisStreamBroker(redis_url)
    broker.declare(MAIL)
    client.xadd("orders", fields)  # type: ignore[arg-type]  # dict is invariant
    receiver = broker.receiver(Subscription("mail", frozenset({("orders", "notification_event.x")})))
    if "event_type" in fields:  # a type that nobody asked for
        assert receiver.receive(0.3) == []
    else:
        [message] = take(receiver, 1)
        with pytest.raises(InvalidEnvelope):
            broker.format.decode(message)
    receiver.close()


def test_one_stream_for_all_topics(redis_url: str, client: redis.Redis) -> None:
    """Ours name their topic; an entry of others, which does not, is for every topic."""
    broker = RedisStreamBroker(redis_url, stream_name="domain-events")
    broker.declare(MAIL)
    publish(broker, Placed(number=1), topic="invoices")
    publish(broker, Placed(number=2), topic="orders")
    foreign = {"event_id": "x", "event_type": "a", "occurred_at": "2026-03-01T12:00:00Z", "payload": '{"number": 3}'}
    client.xadd("domain-events", foreign)  # type: ignore[arg-type]  # dict is invariant
    receiver = broker.receiver(MAIL)
    messages = take(receiver, 2)
    receiver.close()
    assert numbers(broker, messages) == [2, 3]
    assert client.keys() == [b"domain-events"]


def test_other_formats_are_one_field(redis_url: str, client: redis.Redis) -> None:
    broker = RedisStreamBroker(redis_url, format="cloudevents")
    broker.declare(MAIL)
    publish(broker, Placed(number=1))
    [(_, fields)] = client.xrange("orders")
    assert json.loads(fields[b"body"])["specversion"] == "1.0"
    receiver = broker.receiver(MAIL)
    [message] = take(receiver, 1)
    receiver.close()
    assert message.content_type == "application/cloudevents+json"
    assert numbers(broker, [message]) == [1]


def test_a_stream_keeps_about_so_many(redis_url: str, client: redis.Redis) -> None:
    limited, unlimited = RedisStreamBroker(redis_url, max_length=1000), RedisStreamBroker(redis_url, max_length=None)
    for start in range(0, 5000, 1000):
        events = [Placed(number=number) for number in range(start, start + 1000)]
        publish(limited, *events, topic="limited")
        publish(unlimited, *events, topic="unlimited")
    assert 1000 <= client.xlen("limited") < 1200
    assert client.xlen("unlimited") == 5000


def test_a_group_that_falls_behind_is_told_of_and_then_what_it_lost(
    redis_url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_stream_group, "_LOOK_AFTER", 0)
    broker = RedisStreamBroker(redis_url, max_length=1000)
    publish(broker, Placed(number=-1), Placed(number=-2))  # before the group
    broker.declare(MAIL)
    publish(broker, *(Placed(number=number) for number in range(900)))
    receiver = broker.receiver(MAIL, prefetch=10)
    first = take(receiver, 10)
    assert numbers(broker, first) == [*range(10)]
    if "lag" not in client.xinfo_groups("orders")[0]:  # Redis 6.2 does not count
        assert caplog.text == ""
        receiver.close()
        return
    assert "mail is 900 events behind, and stream orders keeps about 1000" in caplog.text
    assert "dropped" not in caplog.text
    for start in range(900, 2900, 1000):
        publish(broker, *(Placed(number=number) for number in range(start, start + 1000)))
    receiver.receive(0)
    (oldest,) = client.xrange("orders", count=1)
    lost = json.loads(oldest[1][b"payload"])["number"] - 10
    # one read may have been under way, and have got entries before they were dropped
    assert any(f"stream orders dropped {n} events" in caplog.text for n in range(lost - 10, lost + 1)), caplog.text
    caplog.clear()
    receiver.acknowledge(first)
    rest = take(receiver, 10)
    receiver.acknowledge(rest)
    receiver.receive(0)
    assert "dropped" not in caplog.text  # once is enough
    receiver.close()


def test_each_refused_event_is_named_and_the_others_are_confirmed(redis_url: str, client: redis.Redis) -> None:
    client.set("bad", "no stream")
    broker = RedisStreamBroker(redis_url)
    messages = [
        broker.message(Placed(number=number), Envelope.of(Placed(number=number)), topic)
        for number, topic in enumerate(["good", "bad", "good"])
    ]
    with pytest.raises(EmitError, match="WRONGTYPE") as error:
        broker.publish(messages, 5)
    assert error.value.confirmed == [messages[0].delivery, messages[2].delivery]
    assert error.value.unsent == [messages[1].delivery]
    assert client.xlen("good") == 2
    with pytest.raises(ConfigurationError, match="WRONGTYPE"):
        broker.declare(Subscription("q", frozenset({("bad", "#")})))


def test_without_an_answer_it_is_uncertain_and_sent_once(redis_server: RedisServer, redis_url: str) -> None:
    with Proxy(redis_server.port) as proxy:
        broker = RedisStreamBroker(redis_url.replace(str(redis_server.port), str(proxy.port)))
        publish(broker, Placed(number=1))
        proxy.blackhole()
        message = broker.message(Placed(number=2), Envelope.of(Placed(number=2)), "orders")
        with pytest.raises(EmitError) as error:
            broker.publish([message], 0.3)
        assert error.value.uncertain == [message.delivery]
        assert proxy.swallowed < 2 * 700  # one such command
        proxy.heal()
        publish(broker, Placed(number=3))
        broker.close()


@pytest.mark.contract  # it takes seconds
def test_what_a_consumer_works_on_is_its_own_and_what_it_forgets_is_not(redis_url: str) -> None:
    """While it calls `receive` nobody takes over what it holds, however long; when it does not, somebody does."""
    broker = RedisStreamBroker(redis_url, claim_after=3)
    broker.declare(MAIL)
    publish(broker, Placed(number=1))
    busy, other = broker.receiver(MAIL), broker.receiver(MAIL)
    held = take(busy, 1)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert busy.receive(0.1) == []
        assert other.receive(0.1) == []
    [taken] = take(other, 1)
    assert (numbers(broker, [taken]), taken.redelivered) == ([1], True)
    other.acknowledge([taken])
    busy.acknowledge(held)  # too late, and no harm
    assert busy.receive(0) == other.receive(0) == []
    busy.close()
    other.close()


def test_a_closed_consumer_leaves_nothing_in_its_name(redis_url: str, client: redis.Redis) -> None:
    broker = RedisStreamBroker(redis_url)
    broker.declare(MAIL)
    publish(broker, Placed(number=1))
    for _ in range(3):
        receiver = broker.receiver(MAIL)
        take(receiver, 1)
        receiver.close()
    assert [(one["name"], one["pending"]) for one in client.xinfo_consumers("orders", "mail")] == [(b"returned", 1)]


def test_a_read_that_was_under_way_at_the_end_loses_nothing(redis_url: str) -> None:
    """A receiver that is closed while Redis keeps its read: what comes right after goes to the next one at once."""
    broker = RedisStreamBroker(redis_url)
    broker.declare(MAIL)
    for number in range(20):
        receiver = broker.receiver(MAIL)
        assert receiver.receive(0) == []  # its read stays under way
        receiver.close()
        publish(broker, Placed(number=number))
        receiver = broker.receiver(MAIL)
        messages = take(receiver, 1)
        assert numbers(broker, messages) == [number]
        receiver.acknowledge(messages)
        receiver.close()


def test_a_group_that_was_deleted_under_its_consumer_is_made_anew(
    redis_url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything in Redis is gone: what is added from then on is read, also what came before the consumer noticed."""
    broker = RedisStreamBroker(redis_url)
    broker.declare(MAIL)
    receiver = broker.receiver(MAIL)
    publish(broker, Placed(number=1))
    receiver.acknowledge(take(receiver, 1))
    client.flushdb()
    publish(broker, Placed(number=2), Placed(number=3))
    with caplog.at_level(logging.WARNING):
        assert numbers(broker, take(receiver, 2)) == [2, 3]
    assert "stream orders was gone or without the group" in caplog.text
    receiver.close()


def test_a_connection_that_leads_nowhere_is_found_out(
    redis_server: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held comes again over the next one."""
    monkeypatch.setattr("events_core.brokers.redis_stream.receiver.PATIENCE", 2.0)
    with Proxy(redis_server.port) as proxy:
        broker = RedisStreamBroker(redis_url.replace(str(redis_server.port), str(proxy.port)))
        broker.declare(MAIL)
        receiver = broker.receiver(MAIL)
        publish(RedisStreamBroker(redis_url), Placed(number=1))
        take(receiver, 1)
        proxy.strand()
        with pytest.raises(TimeoutError):
            receiver.receive(60)
        publish(RedisStreamBroker(redis_url), Placed(number=2))
        messages = take(receiver, 2)
        receiver.close()
    assert numbers(broker, messages) == [1, 2]


def test_of_two_topics_neither_starves(redis_url: str) -> None:
    """Also with less room than topics."""
    broker = RedisStreamBroker(redis_url)
    queue = Subscription("all", frozenset({("one", "#"), ("two", "#"), ("three", "#")}))
    broker.declare(queue)
    for number in range(10):
        for topic in ("one", "two", "three"):
            publish(broker, Placed(number=number), topic=topic)
    receiver = broker.receiver(queue, prefetch=2)
    found: list[tuple[str, int]] = []
    while len(found) < 30:
        messages = take(receiver, 1)
        assert len(messages) <= 2
        found += zip([message.topic for message in messages], numbers(broker, messages), strict=True)
        receiver.acknowledge(messages)
    receiver.close()
    assert sorted(found) == sorted((topic, number) for topic in ("one", "two", "three") for number in range(10))
    assert len({topic for topic, _ in found[:9]}) == 3


def test_a_topic_that_is_not_asked_for_any_more_loses_the_group(redis_url: str, client: redis.Redis) -> None:
    broker = RedisStreamBroker(redis_url)
    both = Subscription("mail", frozenset({("orders", "#"), ("invoices", "#")}))
    broker.declare(both)
    broker.declare(MAIL, both.bindings - MAIL.bindings)
    assert [group["name"] for group in client.xinfo_groups("orders")] == [b"mail"]
    assert client.xinfo_groups("invoices") == []


def test_it_takes_an_existing_client(redis_url: str) -> None:
    """Its address and credentials; retries, timeouts and how replies are read are our own."""
    with redis.Redis.from_url(redis_url, decode_responses=True, socket_timeout=0.001) as client:
        broker = RedisStreamBroker(client)
        broker.declare(MAIL)
        publish(broker, Placed(number=1))
        receiver = broker.receiver(MAIL)
        assert numbers(broker, take(receiver, 1)) == [1]
        receiver.close()
