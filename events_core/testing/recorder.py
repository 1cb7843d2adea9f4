"""What an emitter has sent while it was captured: events in order, their deliveries, messages for other services."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Sequence

from events_core.brokers.base import IntegrationMessage
from events_core.envelope import Envelope
from events_core.events import Event
from events_core.publishing.messages import Carried, Delivery, Message


class Unheard(Message):
    """Stands for an event that has no delivery, on its way through hold blocks, transactions and handlers."""


class Recorder:
    """Takes what is sent. Thread-safe. queue: deliveries that have not been run, in the order of emission."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.messages: list[IntegrationMessage] = []
        self.queue: deque[Message] = deque()
        self._known: dict[Delivery, Event] = {}
        self._lock = threading.Lock()

    def remember(self, delivery: Delivery, event: Event) -> None:
        """The event that a delivery is of."""
        self._known[delivery] = event

    def clear(self) -> None:
        """Forget what was sent."""
        with self._lock:
            self.events.clear()
            self.messages.clear()
            self.queue.clear()

    def take(self, messages: Sequence[Carried]) -> None:
        """They are sent, in this order."""
        with self._lock:
            handlers: dict[object, set[str]] = {}
            for message in messages:
                event, handler = self.event_of(message), message.delivery.handler
                seen = handlers.get(event.event_id)
                if seen is None or handler in seen:  # the same object may be emitted twice
                    self.events.append(event)
                    seen = handlers[event.event_id] = set()
                seen.add(handler)
                if isinstance(message, IntegrationMessage):
                    self.messages.append(message)
                elif isinstance(message, Message) and not isinstance(message, Unheard):
                    self.queue.append(message)

    def event_of(self, message: Carried) -> Event:
        """The event in a message."""
        known = self._known.get(message.delivery)
        if known is not None:
            return known
        if isinstance(message, IntegrationMessage):
            return message.envelope.event()
        assert isinstance(message, Message)
        return Envelope.parse(payload_of(message)).event()


def payload_of(message: Message) -> object:
    """The first argument of the message's task."""
    return json.loads(message.body)[0][0]
