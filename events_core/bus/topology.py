"""Topic and registration: who hears what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events_core.bus.consumers import Consumer, EventHandlerConsumer
from events_core.catalog import path_from
from events_core.errors import BindError, UnknownEventVersion
from events_core.events import IntegrationEvent

#: Bytes of a topic's name, as of an event's: AMQP has 255, and what is made of it is a little longer.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Topic:
    """What integration events are sent to: an exchange, or what the message broker has in its place.

    Raises BindError for a name that is empty, too long for a broker (200 bytes), or has blanks, * or #.
    """

    name: str

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or not re.fullmatch(r"[^\s*#\ud800-\udfff]+", self.name)
            or (len(self.name.encode()) > _LONGEST)
        ):
            raise BindError(
                f"Topic({self.name!r:.220}): a name is a text of 1 to {_LONGEST} bytes, without blanks, * and #"
            )


class IntegrationEventBusRegistration:
    """A consumer, a topic, and the events of that topic that the consumer wants.

    Raises BindError for events that are no integration events, and for those that an EventHandlerConsumer has no
    handler for.
    """

    def __init__(self, consumer: Consumer, topic: Topic, events: Iterable[type[IntegrationEvent]]) -> None:
        if not isinstance(consumer, Consumer) or not isinstance(topic, Topic):
            raise BindError(f"a registration takes a Consumer and a Topic, not {consumer!r:.80} and {topic!r:.80}")
        if not isinstance(events, Iterable) or isinstance(events, type | str):
            name = getattr(events, "__qualname__", repr(events))
            raise BindError(f"events are a list: write [{name:.80}]")
        self.consumer = consumer
        self.topic = topic
        self.events = tuple(events)
        if not self.events:
            raise BindError(f"{self!r}: name the events that it wants; to want none any more, unregister it")
        for event in self.events:
            check_integration_event(event)
        self.events = tuple(dict.fromkeys(self.events))
        for event in self.events:
            if isinstance(consumer, EventHandlerConsumer) and not consumer.handlers.get(event):
                raise BindError(f"{consumer!r} has no handler for {event.__qualname__}: give it one, or leave it out")

    def check_versions(self) -> None:
        """Raise BindError for an event that upcasters make into a version that is not in the list."""
        for event in self.events:
            try:
                made, chain = path_from(event.event_type, event.version)
            except UnknownEventVersion as error:
                raise BindError(f"{self!r}: {error}") from error
            if chain and made not in self.events:
                raise BindError(
                    f"{self!r}: the upcaster {chain[0].name} makes each {event.__qualname__} a {made.__qualname__}, "
                    f"which is not among its events: register {made.__qualname__}, in place of it or beside it"
                )

    def __repr__(self) -> str:
        names = ", ".join(getattr(event, "__qualname__", repr(event)) for event in self.events)
        return f"<registration of {self.consumer.name!r} for {names or 'nothing'} of topic {self.topic.name!r}>"


def check_integration_event(event: Any) -> None:
    """Raise BindError unless it is the class of an integration event."""
    if not isinstance(event, type) or not issubclass(event, IntegrationEvent):
        raise BindError(f"{event!r:.80} is no integration event: subclass NotificationEvent or ECSTEvent")
