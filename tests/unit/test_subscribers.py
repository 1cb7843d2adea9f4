"""@events.subscriber: what it binds, and what it refuses when the module is imported."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery

from events_core import (
    BindError,
    BrokerNotConfigured,
    ConfigurationError,
    DomainEvent,
    ECSTEvent,
    EventHandler,
    EventSystem,
    NotificationEvent,
    Retry,
)
from events_core.brokers import InMemoryBroker
from events_core.brokers.base import IntegrationMessage, MessageBroker, Promises
from events_core.bus import EventHandlerConsumer, IntegrationEventBusRegistration, Topic
from events_core.errors import DuplicateBinding
from events_core.subscribers import subscribed_queues
from events_worker.checks.subscribers import check_subscribers
from events_worker.subscriptions.starting import check_subscriptions


class Confirmed(NotificationEvent, event_type="sub.confirmed", topic="orders"):
    tag: str = ""


class Cancelled(NotificationEvent, event_type="sub.cancelled", topic="orders"):
    tag: str = ""


class Elsewhere(NotificationEvent, event_type="sub.elsewhere", topic="stock"):
    pass


class Untold(NotificationEvent, event_type="sub.untold"):
    pass


class Internal(DomainEvent, event_type="sub.internal"):
    pass


class Moved(ECSTEvent, event_type="sub.moved", topic="crm", entity_key="customer", entity_version="revision"):
    customer: str
    revision: int


class Ordered(ECSTEvent, event_type="sub.ordered", topic="crm", entity_key="order", entity_version="revision"):
    order: str
    revision: int


class Keyless(ECSTEvent, event_type="sub.keyless", topic="crm"):
    pass


TWO_ENTITIES: list[Any] = [Moved, Ordered]


def system(**options: Any) -> EventSystem:
    return EventSystem("shop", broker_url="redis://localhost:1", message_broker=InMemoryBroker(), **options)


def handle(event: Any) -> None: ...


def other(event: Any) -> None: ...


class TestBinding:
    def test_defaults(self) -> None:
        """The topic is that of the class, the queue `{system}.{topic}`, the routing key `{kind}.{event_type}`."""
        events = system()
        assert events.subscriber(events=[Confirmed, Cancelled])(handle) is handle
        (subscriber,) = events.event_map.subscribers
        assert subscriber.queue == "shop.orders"
        assert subscriber.bindings == {
            ("orders", "notification_event.sub.confirmed"),
            ("orders", "notification_event.sub.cancelled"),
        }
        assert events.event_map.find(f"{__name__}.handle") is subscriber.spec
        assert events.event_map.route(Confirmed) == ()

    def test_options(self) -> None:
        """Those of a handler; `queue` is on the message broker, `task_queue` is Celery's."""
        events = system()
        events.subscriber(
            topic="sales",
            events=[Confirmed],
            queue="all.sales",
            task_queue="slow",
            retry=Retry(2),
            ordered_by="tag",
            name="n",
        )(handle)
        (subscriber,) = events.event_map.subscribers
        spec = subscriber.spec
        assert (subscriber.queue, {*subscriber.bindings}) == (
            "all.sales", {("sales", "notification_event.sub.confirmed")},
        )  # fmt: skip
        assert (spec.name, spec.queue, spec.retry, spec.ordered_by) == ("n", "slow", Retry(2), "tag")
        assert events.queues() == {"shop.events", "slow"}

    def test_a_class(self) -> None:
        """As any handler."""
        events = system()

        @events.subscriber(events=[Confirmed], name="ship")
        class Ship(EventHandler[Confirmed]):
            def handle(self, event: Confirmed) -> None: ...

        assert events.event_map.subscribers[0].spec.kind == "class"

    def test_subscribers_of_one_queue(self) -> None:
        """They share its consumer; each wants its own types, of the topics that it named. A topic that nobody named
        says nothing: the operator has bound the queue there too.
        """
        events = system()
        events.subscriber(events=[Confirmed], queue="q")(handle)
        events.subscriber(events=[Confirmed, Cancelled], topic="more", queue="q")(other)
        (queue,) = subscribed_queues(events.event_map.subscribers)
        assert queue.wanted == {"sub.confirmed": [Confirmed], "sub.cancelled": [Cancelled]}
        named = {
            topic: [found.spec.name.rpartition(".")[2] for found in queue.who_wants("sub.confirmed", topic)]
            for topic in ("orders", "more", "", "third")
        }
        assert named == {"orders": ["handle"], "more": ["other"], "": ["handle", "other"], "third": ["handle", "other"]}

    def test_latest_only_orders_by_the_entity(self) -> None:
        events = system()
        events.subscriber(events=[Moved], latest_only=True)(handle)
        spec = events.event_map.subscribers[0].spec
        assert (spec.ordered_by, spec.latest_only) == ("customer", True)


class TestRefused:
    @pytest.mark.parametrize(
        "options, says",
        [
            ({"events": []}, "events= is empty"),
            ({"events": Confirmed}, r"takes a list of event classes: \[Confirmed\]"),
            ({"events": [Internal]}, "Internal is no integration event.*@events.handler"),
            ({"events": ["sub.confirmed"]}, "'sub.confirmed' is no event class"),
            ({"events": [NotificationEvent]}, "not NotificationEvent, the base of them all"),
            ({"events": [Untold]}, "Untold names no topic: say where it is heard with topic="),
            ({"events": [Confirmed, Elsewhere]}, "come from orders and stock: name its queue"),
            ({"events": [Confirmed], "topic": "a b"}, "topic='a b' must be a text"),
            ({"events": [Confirmed], "queue": "a*"}, r"queue='a\*' must be a text"),
            ({"events": [Confirmed], "queue": "shop.events"}, "'shop.events' is a queue of deliveries"),
            ({"events": [Confirmed], "queue": "slow", "task_queue": "slow"}, "'slow' is a queue of deliveries"),
            ({"events": [Confirmed], "ordered_by": "nothing"}, "Confirmed has no field 'nothing'"),
            ({"events": [Confirmed], "latest_only": True}, "define Confirmed as ECSTEvent with entity_key"),
            ({"events": [Keyless], "latest_only": True}, "define Keyless as ECSTEvent with entity_key"),
            ({"events": TWO_ENTITIES, "latest_only": True}, "tell entities by customer and order"),
            ({"events": [Moved], "latest_only": True, "ordered_by": "customer"}, "leave ordered_by= out"),
        ],
    )
    def test_at_bind_time(self, options: dict[str, Any], says: str) -> None:
        """Each error says what it is about and what to do."""
        events = system()
        with pytest.raises(BindError, match=says):
            events.subscriber(**options)(handle)
        assert events.event_map.subscribers == ()

    def test_twice(self) -> None:
        """The same handler for the same event of the same topic, even by another queue: its deliveries would be one."""
        events = system()
        events.subscriber(events=[Confirmed])(handle)
        with pytest.raises(DuplicateBinding, match=r"handle is subscribed to Confirmed of topic 'orders' already"):
            events.subscriber(events=[Confirmed, Cancelled], queue="q")(handle)
        events.subscriber(events=[Cancelled])(handle)
        with pytest.raises(DuplicateBinding, match="is taken with other options"):
            events.subscriber(events=[Confirmed], topic="t", timeout=3)(handle)

    def test_what_the_annotation_contradicts(self) -> None:
        def wants_cancelled(event: Cancelled) -> None: ...

        with pytest.raises(BindError, match="takes Cancelled, but is bound to Confirmed"):
            system().subscriber(events=[Confirmed], name="n")(wants_cancelled)

    def test_a_celery_task(self) -> None:
        with pytest.raises(BindError, match="is a Celery task: subscribe a function"):
            system().subscriber(events=[Confirmed])(Celery("a").task(name="t")(handle))

    def test_a_dataclass(self) -> None:
        """It would replace the model's constructor."""

        @dataclass
        class Both(NotificationEvent, event_type="sub.both", topic="orders"):
            pass

        with pytest.raises(BindError, match="decorated with @dataclass"):
            system().subscriber(events=[Both])(handle)

    def test_a_handler_of_domain_events_only_names_the_way(self) -> None:
        with pytest.raises(BindError, match=r"Receive it with @events.subscriber"):
            system().handler(Confirmed)(handle)


class PublishOnly(MessageBroker):
    """One that cannot be heard."""

    promises = Promises("at most once", durable=False, ordered=True, shared=True, routed=True, tells_unroutable=False)

    def publish(self, messages: Any, timeout: float) -> None: ...

    def close(self) -> None: ...


class TestBroker:
    def test_none(self) -> None:
        """Told by `events check`, and when the worker starts; binding and emitting work without."""
        events = EventSystem("shop", broker_url="redis://localhost:1")
        events.subscriber(events=[Confirmed])(handle)
        (finding,) = check_subscribers(events)
        assert finding.level == "error"
        assert "(shop.orders) need a message broker: give EventSystem(..., message_broker=...)" in finding.text
        with pytest.raises(ConfigurationError, match="need a message broker"):
            check_subscriptions(events)
        with pytest.raises(BrokerNotConfigured, match="the bus of 'shop' needs"):
            events.bus()

    def test_one_that_only_publishes(self) -> None:
        events = EventSystem("shop", broker_url="redis://localhost:1", message_broker=PublishOnly("flat"))
        events.subscriber(events=[Confirmed])(handle)
        error, warning = check_subscribers(events)
        assert "hear nothing: PublishOnly only publishes" in error.text
        assert (warning.level, "at most once" in warning.text) == ("warning", True)

    def test_nothing_to_say(self) -> None:
        events = system()
        assert [*check_subscribers(events)] == []
        events.subscriber(events=[Confirmed])(handle)
        assert [*check_subscribers(events)] == []
        check_subscriptions(events)

    def test_a_queue_of_another_handler(self) -> None:
        """Known once all handlers are bound."""
        events = system()
        events.subscriber(events=[Confirmed], queue="mail")(handle)
        events.handler(Internal, queue="mail")(other)
        with pytest.raises(ConfigurationError, match="'mail' is a queue of deliveries, and of subscribers"):
            check_subscriptions(events)

    def test_a_bus_on_the_queue_of_a_subscriber(self) -> None:
        """Each would take a part of the events."""
        events = system()
        events.subscriber(events=[Confirmed])(handle)
        bus = events.bus()

        def registration(name: str) -> IntegrationEventBusRegistration:
            consumer = EventHandlerConsumer(name, {Confirmed: [handle]})
            return IntegrationEventBusRegistration(consumer, Topic("orders"), [Confirmed])

        with pytest.raises(ConfigurationError, match=r"'shop\.orders' is that of a subscriber of 'shop'"):
            asyncio.run(bus.register(registration("orders")))
        asyncio.run(bus.register(registration("page")))

    def test_emitting_to_it(self) -> None:
        """`IntegrationMessage` as the worker's side hears it: the same names on both sides."""
        events = system()
        events.subscriber(events=[Confirmed])(handle)
        broker = events.message_broker
        assert isinstance(broker, InMemoryBroker)
        events.emit(Confirmed(tag="a"))
        (message,) = broker.published
        assert isinstance(message, IntegrationMessage)
        assert (message.topic, message.routing_key) in events.event_map.subscribers[0].bindings
