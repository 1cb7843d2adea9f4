"""Another service's event, as if it came from the message broker."""

from __future__ import annotations

from collections.abc import Iterator

from events_core import BrokerNotConfigured, EventSystem, IntegrationEvent
from events_core.brokers.base import Received
from events_core.envelope import Envelope
from events_core.subscribers import subscribed_queues
from events_worker.subscriptions.batch import Batch, Sorter
from events_worker.subscriptions.neighbours import Asked, Neighbours


class _Nobody(Neighbours):
    """No other worker is there."""

    topics = frozenset()

    def __init__(self) -> None:
        pass

    def strangers(self, topic: str, event_type: str) -> list[Asked]:
        return []

    def who_knows(self, names: object, topic: str, event_type: str, version: int) -> Asked | None:
        return None


def received(system: EventSystem, event: IntegrationEvent, topic: str | None) -> Iterator[Batch]:
    """What each subscribed queue makes of it. Raises LookupError, BrokerNotConfigured."""
    broker = system.message_broker
    if broker is None:
        raise BrokerNotConfigured(
            f"{system.name!r} hears no other service: give it a message broker, EventSystem(..., message_broker=...)"
        )
    heard_on = _topic(system, event, topic)
    message = broker.message(event, Envelope.of(event), heard_on)
    arrived = Received(
        message.body,
        content_type=message.content_type,
        headers=message.headers,
        message_id=message.envelope.id,
        type=message.envelope.type,
        topic=heard_on,
        routing_key=message.routing_key,
        timestamp=message.occurred_at.timestamp(),
    )
    for queue in subscribed_queues(system.event_map.subscribers):
        if queue.who_wants(event.event_type, heard_on) and heard_on in {at for at, _ in queue.bindings}:
            yield Sorter(system, queue, broker.format, _Nobody()).sort([arrived])


def _topic(system: EventSystem, event: IntegrationEvent, topic: str | None) -> str:
    topics = {
        at
        for subscriber in system.event_map.subscribers
        for wanted, at in subscriber.topics.items()
        if wanted.event_type == event.event_type
    }
    if topic is None and len(topics) > 1:
        raise LookupError(f"{event.event_type} is heard on {' and '.join(sorted(topics))}: say which, with topic=")
    if not topics or (topic is not None and topic not in topics):
        where = f" on topic {topic!r}" if topic else ""
        raise LookupError(
            f"nobody in {system.name!r} is subscribed to {event.event_type}{where}: bind a handler with "
            f"@events.subscriber(events=[{type(event).__name__}]), and import its module"
        )
    return topic or topics.pop()
