"""EventEmitter: an event becomes its deliveries, which go to the broker in one confirmed batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from events_core.envelope import Envelope
from events_core.errors import BrokerNotConfigured, EventTooLarge, NotAnEvent
from events_core.event_map import EventMap, refuse_dataclass
from events_core.events import Event, IntegrationEvent
from events_core.publishing.base import Publisher, publish_in_chunks
from events_core.publishing.batcher import Batcher
from events_core.publishing.messages import Delivery, Message, MessageBuilder
from events_core.publishing.signals import after_publish, before_publish
from events_core.scope import HandlingScope, current_scope

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Emission:
    """What emit did: the event's id and its deliveries, each as (handler, task_id, queue)."""

    event_id: UUID
    deliveries: tuple[Delivery, ...]


class EventEmitter:
    """Emits events to the handlers of an event map.

    publisher: called on the first emit, so that constructing an emitter touches no network.
    messages: builds the Celery messages. timeout: seconds for each chunk of at most 1,000 deliveries.
    max_event_bytes: of one encoded event.
    """

    def __init__(
        self,
        event_map: EventMap,
        publisher: Callable[[], Publisher],
        messages: MessageBuilder,
        *,
        timeout: float,
        max_event_bytes: int,
    ) -> None:
        self._map = event_map
        self._publisher = publisher
        self._messages = messages
        self._timeout = timeout
        self._max_event_bytes = max_event_bytes
        self._batcher: Batcher | None = None
        self._warned_empty = False

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """Emit events in one batch; return when the broker has confirmed every delivery.

        Inside a handler they are held back until it has succeeded, unless `now`.
        Raises EmitError, which tells what is confirmed, uncertain and unsent; NotAnEvent, EventTooLarge,
        BrokerNotConfigured before anything is sent.
        """
        scope = current_scope()
        emissions, messages = self._prepare(events, scope)
        if scope is not None and not scope.closed and not now:
            scope.held.extend(messages)
        elif messages:
            self.publish(messages)
        return emissions

    async def aemit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `emit_many`, without blocking the event loop; concurrent calls share one batch.

        Cancelling it does not withdraw the events.
        """
        scope = current_scope()
        emissions, messages = self._prepare(events, scope)
        if scope is not None and not scope.closed and not now:
            scope.held.extend(messages)
        elif messages:
            if self._batcher is None:
                self._batcher = Batcher(self._hand_over)
            before_publish(messages)  # here, where receivers find the caller's context, and not in the batcher's thread
            await self._batcher.publish(messages, self._timeout)
            after_publish(messages)
        return emissions

    def publish(self, messages: Sequence[Message], timeout: float | None = None) -> None:
        """Hand messages to the broker, confirmed. timeout: seconds for each chunk; default EMIT_TIMEOUT."""
        before_publish(messages)
        self._hand_over(messages, self._timeout if timeout is None else timeout)
        after_publish(messages)

    def _hand_over(self, messages: Sequence[Message], timeout: float) -> None:
        publish_in_chunks(self._publisher(), messages, timeout)

    def _prepare(self, events: Iterable[Event], scope: HandlingScope | None) -> tuple[list[Emission], list[Message]]:
        emissions: list[Emission] = []
        messages: list[Message] = []
        for event in events:
            own = self._messages_of(event, scope)
            emissions.append(Emission(event.event_id, tuple(message.delivery for message in own)))
            messages.extend(own)
        return emissions, messages

    def _messages_of(self, event: Event, scope: HandlingScope | None) -> list[Message]:
        if not isinstance(event, Event):
            raise NotAnEvent(f"{event!r:.80} is no event: emit an instance of a DomainEvent subclass")
        if isinstance(event, IntegrationEvent):
            raise BrokerNotConfigured(
                f"To use {_kind_name(event)}, message_broker argument must be specified. ({type(event).__name__} is an "
                "integration event, which goes to a message broker; make it a DomainEvent to reach this application's "
                "handlers)"
            )
        refuse_dataclass(type(event))
        specs = self._map.route(type(event))
        if not specs:
            self._warn_unhandled(event)
            return []
        envelope = Envelope.of(event, None if scope is None else scope.cause)
        encoded = envelope.to_json()
        if len(encoded) > self._max_event_bytes:
            raise EventTooLarge(
                f"{event.event_type} {event.event_id} has {len(encoded):,} bytes, more than MAX_EVENT_BYTES "
                f"({self._max_event_bytes:,}): emit a reference to the data, or raise EVENTS_MAX_EVENT_BYTES"
            )
        return self._messages.messages(specs, event, envelope, encoded, scope)

    def _warn_unhandled(self, event: Event) -> None:
        if self._map:
            logger.warning("%s %s: no handler is bound to it, nothing will happen", event.event_type, event.event_id)
        elif not self._warned_empty:
            self._warned_empty = True
            logger.warning("no handler is bound at all: name the modules that bind them in handlers=[...]")


def _kind_name(event: IntegrationEvent) -> str:
    """The class of ours that it derives from: NotificationEvent, ECSTEvent or IntegrationEvent."""
    return next(base.__name__ for base in type(event).__mro__ if base.__module__ == IntegrationEvent.__module__)
