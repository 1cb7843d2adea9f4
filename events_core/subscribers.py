"""Subscribers: handlers of other services' events, and the queues by which they hear them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from events_core.errors import BindError
from events_core.events import ECSTEvent, Event, IntegrationEvent
from events_core.handlers import HandlerSpec


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A handler of integration events: each event that it wants becomes an ordinary delivery to it.

    topics: for each event the topic that it is heard on. queue: on the message broker.
    """

    spec: HandlerSpec
    topics: dict[type[IntegrationEvent], str]
    queue: str

    @property
    def events(self) -> tuple[type[IntegrationEvent], ...]:
        """The event classes that it wants."""
        return tuple(self.topics)

    @property
    def bindings(self) -> frozenset[tuple[str, str]]:
        """Topics and routing keys that its queue is bound by."""
        return frozenset((topic, f"{event.event_kind}.{event.event_type}") for event, topic in self.topics.items())

    def wants(self, event_type: str, topic: str) -> bool:
        """Whether it hears events of that type on that topic, of any version. topic: empty where it is not known."""
        return any(event.event_type == event_type and topic in ("", at) for event, at in self.topics.items())


@dataclass(frozen=True, slots=True)
class SubscribedQueue:
    """All subscribers that share a queue: one message becomes a delivery to each that wants it."""

    name: str
    subscribers: tuple[Subscriber, ...]

    @property
    def bindings(self) -> frozenset[tuple[str, str]]:
        """Topics and routing keys that it is bound by."""
        return frozenset(binding for subscriber in self.subscribers for binding in subscriber.bindings)

    @property
    def wanted(self) -> dict[str, list[type[IntegrationEvent]]]:
        """The classes that are wanted, by event type."""
        classes: dict[str, list[type[IntegrationEvent]]] = {}
        for subscriber in self.subscribers:
            for event in subscriber.events:
                if event not in classes.setdefault(event.event_type, []):
                    classes[event.event_type].append(event)
        return classes

    def who_wants(self, event_type: str, topic: str) -> list[Subscriber]:
        """The subscribers that hear events of that type on that topic, in bind order.

        topic: where the event came from. One that the queue was not bound to by us tells nothing: somebody else has
        bound it there, or has put the event into the queue.
        """
        known = topic if any(topic == at for at, _ in self.bindings) else ""
        return [subscriber for subscriber in self.subscribers if subscriber.wants(event_type, known)]


def subscribed_queues(subscribers: Iterable[Subscriber]) -> list[SubscribedQueue]:
    """Subscribers by their queues, in bind order."""
    by_queue: dict[str, list[Subscriber]] = {}
    for subscriber in subscribers:
        by_queue.setdefault(subscriber.queue, []).append(subscriber)
    return [SubscribedQueue(name, tuple(found)) for name, found in by_queue.items()]


def make_subscriber(
    spec: HandlerSpec,
    events: Iterable[type[IntegrationEvent]],
    *,
    topic: str | None,
    queue: str | None,
    system: str,
    latest_only: bool,
) -> Subscriber:
    """A subscriber of what was asked for; see `EventSystem.subscriber`. Raises BindError where it cannot work."""
    if spec.kind == "task":
        raise BindError(f"{spec.name} is a Celery task: subscribe a function or class that calls it")
    classes = _checked(spec.name, events)
    topics = {event: _topic_of(spec.name, event, topic) for event in classes}
    if queue is None:
        names = sorted(set(topics.values()))
        if len(names) > 1:
            raise BindError(f"{spec.name}: its events come from {' and '.join(names)}: name its queue with queue=")
        queue = f"{system}.{names[0]}"
    _check_name(spec.name, "queue", queue)
    if latest_only:
        spec = replace(spec, ordered_by=_entity_key(spec, classes), latest_only=True)
    return Subscriber(spec, topics, queue)


def _checked(handler: str, events: Any) -> Sequence[type[IntegrationEvent]]:
    if isinstance(events, type):
        raise BindError(f"{handler}: events= takes a list of event classes: [{events.__qualname__}]")
    classes = tuple(dict.fromkeys(events))
    if not classes:
        raise BindError(f"{handler}: events= is empty: name the event classes that it wants")
    for event in classes:
        if not isinstance(event, type) or not issubclass(event, Event):
            raise BindError(f"{handler}: {event!r:.80} is no event class: subclass NotificationEvent or ECSTEvent")
        if not issubclass(event, IntegrationEvent):
            raise BindError(
                f"{handler}: {event.__qualname__} is no integration event, and never comes from a message broker. Bind "
                "it with @events.handler(...), or make it a NotificationEvent or ECSTEvent"
            )
        if event.__module__ == IntegrationEvent.__module__:
            raise BindError(
                f"{handler}: name the classes that it wants, not {event.__qualname__}, the base of them all"
            )
    return classes


def _topic_of(handler: str, event: type[IntegrationEvent], topic: str | None) -> str:
    found = topic if topic is not None else event.topic
    if found is None:
        raise BindError(
            f"{handler}: {event.__qualname__} names no topic: say where it is heard with topic=, which is the name of "
            "the sender's system unless the sender names another"
        )
    _check_name(handler, "topic", found)
    return found


def _check_name(handler: str, what: str, name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[^\s*#]+", name) or len(name.encode()) > 200:
        raise BindError(f"{handler}: {what}={name!r:.220} must be a text of 1 to 200 bytes without blanks, * and #")


def _entity_key(spec: HandlerSpec, classes: Sequence[type[IntegrationEvent]]) -> str:
    if spec.ordered_by is not None:
        raise BindError(f"{spec.name}: latest_only=True orders by the entity: leave ordered_by= out")
    keys = set()
    for event in classes:
        if not issubclass(event, ECSTEvent) or event.entity_key is None or event.entity_version is None:
            raise BindError(
                f"{spec.name}: latest_only=True needs to know the entity and its version: define {event.__qualname__} "
                'as ECSTEvent with entity_key="..." and entity_version="..."'
            )
        keys.add(event.entity_key)
    if len(keys) > 1:
        raise BindError(
            f"{spec.name}: its events tell entities by {' and '.join(sorted(keys))}: latest_only=True follows one kind "
            "of entity; write one subscriber for each"
        )
    return keys.pop()
