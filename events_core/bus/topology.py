"""Topic and registration: who hears what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events_core.bus.consumers import Consumer, EventHandlerConsumer
from events_core.errors import BindError
from events_core.events import IntegrationEvent


@dataclass(frozen=True, slots=True)
class Topic:
    """What integration events are sent to: an exchange, or what the message broker has in its place.

    Raises BindError for an empty name, or one with blanks.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[^\s*#]{1,200}", self.name):
            raise BindError(f"Topic({self.name!r}): a name is a text of 1 to 200 characters, without blanks, * and #")


class IntegrationEventBusRegistration:
    """A consumer, a topic, and the events of that topic that the consumer wants.

    Raises BindError for events that are no integration events, and for those that an EventHandlerConsumer has no
    handler for.
    """

    def __init__(self, consumer: Consumer, topic: Topic, events: Iterable[type[IntegrationEvent]]) -> None:
        if not isinstance(consumer, Consumer) or not isinstance(topic, Topic):
            raise BindError(f"a registration takes a Consumer and a Topic, not {consumer!r:.80} and {topic!r:.80}")
        self.consumer = consumer
        self.topic = topic
        self.events = tuple(dict.fromkeys(events))
        if not self.events:
            raise BindError(f"{self!r}: name the events that it wants; to want none any more, unregister it")
        for event in self.events:
            check_integration_event(event)
            if isinstance(consumer, EventHandlerConsumer) and not consumer.handlers.get(event):
                raise BindError(f"{consumer!r} has no handler for {event.__qualname__}: give it one, or leave it out")

    def __repr__(self) -> str:
        names = ", ".join(getattr(event, "__qualname__", repr(event)) for event in self.events)
        return f"<registration of {self.consumer.name!r} for {names or 'nothing'} of topic {self.topic.name!r}>"


def check_integration_event(event: Any) -> None:
    """Raise BindError unless it is the class of an integration event."""
    if not isinstance(event, type) or not issubclass(event, IntegrationEvent):
        raise BindError(f"{event!r:.80} is no integration event: subclass NotificationEvent or ECSTEvent")
