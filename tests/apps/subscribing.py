"""A shipping service that subscribes to what an order service tells. TEST_DEPLOY=old knows less."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from events_core import DomainEvent, ECSTEvent, EventSystem, NotificationEvent, Retry
from events_core.brokers import (
    ExchangeBroker,
    MessageBroker,
    Received,
    Receiver,
    RedisPubSubBroker,
    RedisStreamBroker,
    Subscription,
)
from tests.apps.recording import enter, record, wait_for_gate

URL, KIND = "TEST_MESSAGE_BROKER", "TEST_BROKER_KIND"
NEW = os.environ.get("TEST_DEPLOY") != "old"


class DyingBroker(ExchangeBroker):
    """One whose consumer dies before it acknowledges anything, as long as the test wants that."""

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Receiver:
        receiver = super().receiver(subscription, prefetch)
        acknowledge = receiver.acknowledge

        def die(messages: Sequence[Received]) -> None:
            if os.environ.get("TEST_DIE") == subscription.queue.rpartition(".")[2]:
                os.kill(os.getpid(), signal.SIGKILL)
            acknowledge(messages)

        receiver.acknowledge = die  # type: ignore[method-assign]
        return receiver


def message_broker() -> MessageBroker | None:
    url = os.environ.get(URL, "memory://")
    match os.environ.get(KIND, "exchange"):
        case "none":
            return None
        case "stream":
            return RedisStreamBroker(url)
        case "pubsub":
            return RedisPubSubBroker(url)
    return DyingBroker(url)


events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"), message_broker=message_broker())


class Confirmed(NotificationEvent, event_type="order.approved", topic="orders"):
    tag: str
    number: int = 0


class Cancelled(NotificationEvent, event_type="order.cancelled", topic="orders"):
    tag: str
    number: int = 0


class Shipped(NotificationEvent, event_type="order.shipped", topic="shipping"):
    tag: str


class Packed(DomainEvent, event_type="order.packed"):
    tag: str


class Moved(ECSTEvent, event_type="customer.moved", topic="crm", entity_key="customer", entity_version="revision"):
    tag: str
    customer: str
    revision: int


class Labelled(NotificationEvent, event_type="order.labelled", topic="orders", version=1):
    tag: str
    label: str


if NEW:

    class LabelledBetter(NotificationEvent, event_type="order.labelled", topic="orders", version=2):
        tag: str
        labels: list[str]

    @events.upcaster("order.labelled", from_version=1)
    def split(data: dict[str, object]) -> dict[str, object]:
        return {"tag": data["tag"], "labels": str(data["label"]).split(",")}


@events.subscriber(events=[Confirmed])
def ship(event: Confirmed) -> list[Shipped]:
    enter(event.tag, "ship")
    record(event.tag, "shipped", number=event.number)
    return [Shipped(tag=event.tag)] if event.number == 1 else []


if NEW:

    @events.subscriber(events=[Cancelled, Confirmed], ordered_by="tag")
    def book(event: Confirmed | Cancelled) -> None:
        record(event.tag, "booked", number=event.number, type=event.event_type)


@events.subscriber(events=[Cancelled], queue="slow.orders", retry=Retry(max_attempts=3, base=0.05))
def slow(event: Cancelled) -> None:
    starts = enter(event.tag, "slow")
    if event.number == 2:
        wait_for_gate(event.tag)
    if event.number == 3 and starts < 3:
        raise ValueError("not yet")
    record(event.tag, "slowly", number=event.number)


@events.subscriber(events=[Moved], latest_only=True)
def move(event: Moved) -> list[Packed]:
    record(event.tag, "moved", customer=event.customer, revision=event.revision)
    return [Packed(tag=event.tag)]


@events.subscriber(events=[Labelled])
def label(event: NotificationEvent) -> None:
    values = event.model_dump()
    record(values["tag"], "labelled", version=event.version, labels=values.get("labels") or [values["label"]])


@events.handler(Packed)
def packed(event: Packed) -> None:
    record(event.tag, "packed")
