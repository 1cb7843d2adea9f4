"""The work of the subscribing side: events of another service, each of which becomes a delivery."""

from __future__ import annotations

from typing import Any

from benchmarks.apps import ours
from benchmarks.apps.marks import mark
from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker

SYSTEM = "benchsub"
TOPIC = "bench-orders"


class Told(NotificationEvent, event_type="order.told", topic=TOPIC):
    """What `ours.Order` carries."""

    order_id: str
    email: str = "someone@example.org"
    total: int = 1999
    gate: str = ""
    sent_ns: int = 0


def hear(event: Told) -> None:
    mark(event.sent_ns)


def make(broker_url: str | None = None, redis_url: str | None = None) -> EventSystem:
    """The system: its handlers as those of `ours`, and one subscriber. Without URLs those of the environment."""
    urls: dict[str, Any] = {"broker_url": broker_url, "redis_url": redis_url} if broker_url else {}
    system = EventSystem(SYSTEM, message_broker=ExchangeBroker(broker_url), **urls)
    ours.bind(system)
    system.subscriber(events=[Told])(hear)
    return system
