"""Publishers and the dispatcher of home-made packages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from events_core import ConfigurationError, EmitError, EventSystem
from events_core.compat import (
    DomainEvent,
    Entity,
    EventDispatcher,
    InMemoryEventPublisher,
    RedisEventPublisher,
    SystemEventPublisher,
)
from events_core.entities import pending_events


class Paid(DomainEvent):
    event_type: str = "compat_publishers.paid"
    amount: str
    lines: list[dict[str, int]] = []

    def _payload(self) -> dict[str, object]:
        return {"total": {"amount": self.amount}, "lines": self.lines}


class Order(Entity):
    def pay(self) -> None:
        self.add_event(Paid(amount="7.00"))


def entries(url: str, stream: str = "domain-events") -> list[dict[str, str]]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return [fields for _, fields in client.xrange(stream)]


class TestRedis:
    def test_a_nested_payload_is_one_field_of_json(self, redis_url: str) -> None:
        """Hole 8. Of the document's four fields none is missing."""
        event = Paid(amount="7.00", lines=[{"number": 1}])
        publisher = RedisEventPublisher(redis.asyncio.Redis.from_url(redis_url))
        asyncio.run(publisher.publish(event))
        publisher.close()
        (entry,) = entries(redis_url)
        assert {**entry, "payload": json.loads(entry["payload"])}.items() >= event.to_dict().items()

    def test_all_go_out_in_order_and_none_is_dropped(self, redis_url: str) -> None:
        """More than RedisStreamBroker's chunk of 1,000."""
        events = [Paid(amount=str(number)) for number in range(1_500)]
        publisher = RedisEventPublisher(redis_url, stream_name="paid", timeout=20.0)
        asyncio.run(publisher.publish_all(events))
        asyncio.run(publisher.publish_all([]))
        publisher.close()
        assert [entry["event_id"] for entry in entries(redis_url, "paid")] == [str(event.event_id) for event in events]

    def test_what_is_not_safe_is_the_entitys_again(self) -> None:
        """Hole 1."""
        order = Order()
        order.pay()
        publisher = RedisEventPublisher("redis://127.0.0.1:1/0")
        with pytest.raises(EmitError):
            asyncio.run(publisher.publish_all(order.collect_events()))
        assert len(pending_events(order)) == 1

    def test_another_client_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"takes a URL, a redis\.Redis or a redis\.asyncio\.Redis"):
            RedisEventPublisher(object())


def test_the_one_in_memory_keeps_them() -> None:
    order, publisher = Order(), InMemoryEventPublisher()
    order.pay()
    (event,) = order.collect_events()

    async def publish() -> None:
        await publisher.publish(event)
        await publisher.publish_all([Paid(amount="1.00")])

    asyncio.run(publish())
    assert [each.amount for each in publisher.events] == ["7.00", "1.00"]
    assert pending_events(order) == ()


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    system = EventSystem(system_name, broker_url=redis_url)
    yield system
    system.close()


def receipt(event: Paid) -> None: ...


def ledger(event: Paid) -> None: ...


class TestSystem:
    def test_each_handler_has_a_delivery_of_its_own(self, events: EventSystem) -> None:
        """Hole 2: neither fails the caller, nor keeps the other from running."""
        dispatcher = EventDispatcher(events)
        dispatcher.register("compat_publishers.paid", receipt)
        dispatcher.register("compat_publishers.paid", ledger, queue="ledger")
        emission = asyncio.run(dispatcher.dispatch(Paid(amount="1.00")))
        assert [(d.handler.rpartition(".")[2], d.queue) for d in emission.deliveries] == [
            ("receipt", f"{events.name}.events"),
            ("ledger", "ledger"),
        ]

    def test_a_service_publishes_to_it(self, events: EventSystem, redis_url: str) -> None:
        events.bind(Paid, receipt)
        publisher = SystemEventPublisher(events)

        async def publish() -> None:
            await publisher.publish(Paid(amount="1.00"))
            await publisher.publish_all([Paid(amount="2.00"), Paid(amount="3.00")])

        asyncio.run(publish())
        with redis.Redis.from_url(redis_url) as client:
            assert client.keys(f"*{events.name}.events*")
