"""A chat on the broker without a server, for the tests of the bus: what is said, who hears it, what is dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events_core import NotificationEvent, Retry
from events_core.brokers import InMemoryBroker, Received, Subscription
from events_core.bus import Consumer, EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic

CHAT = Topic("chat")
QUICK = Retry(max_attempts=3, base=0.001, jitter=False)


class Said(NotificationEvent, event_type="running.said", topic="chat"):
    text: str


class SaidAnew(NotificationEvent, event_type="running.said", version=2, topic="chat"):
    text: str


class Left(NotificationEvent, event_type="running.left", topic="chat"):
    name: str


KEY = "notification_event.running.said"


class Heard:
    """A handler that remembers what it has heard."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, event: Any) -> None:
        self.texts.append(event.text if hasattr(event, "text") else event.name)


def rooms(*handlers: Callable[..., Any], **options: Any) -> EventHandlerConsumer:
    return EventHandlerConsumer("rooms", {Said: handlers, Left: handlers}, **{"retry": QUICK, **options})


def to(consumer: Consumer, *events: Any, topic: Topic = CHAT) -> IntegrationEventBusRegistration:
    return IntegrationEventBusRegistration(consumer, topic, events or (Said,))


async def say(bus: EventBus, *texts: str, topic: Topic = CHAT) -> None:
    for text in texts:
        await bus.send(topic, Said(text=text))


def letters(broker: InMemoryBroker, queue: str = "chat.rooms.dead") -> list[Received]:
    """What lies in the dead queue."""
    receiver = broker.receiver(Subscription(queue, frozenset({(queue, "#")})))
    messages = receiver.receive(0)
    receiver.close()
    return messages
