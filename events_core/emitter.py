"""EventEmitter: a domain event becomes its deliveries, an integration event one message; both go out confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from events_core.admission.gates import passage
from events_core.admission.turns import Turns
from events_core.brokers.base import IntegrationMessage, MessageBroker
from events_core.envelope import Envelope
from events_core.errors import (
    BindError,
    BrokerNotConfigured,
    ConfigurationError,
    EmitError,
    EventTooLarge,
    NotAnEvent,
)
from events_core.event_map import EventMap, refuse_dataclass
from events_core.events import Event, IntegrationEvent
from events_core.handlers import HandlerSpec
from events_core.publishing.base import Publisher, publish_in_chunks, unsent
from events_core.publishing.batcher import Batcher
from events_core.publishing.messages import Carried, Delivery, Message, MessageBuilder
from events_core.publishing.signals import after_publish, before_publish
from events_core.publishing.ways import Way, go_each_way, together
from events_core.scope import HandlingScope, current_scope

logger = logging.getLogger(__name__)

#: The group that a delivery is a member of.
GROUP_HEADER = "events-group"


@dataclass(frozen=True, slots=True)
class Emission:
    """What emit did: the event's id and its deliveries, each as (handler, task_id, queue).

    An integration event has none here: it went to its topic.
    """

    event_id: UUID
    deliveries: tuple[Delivery, ...]


class EventEmitter:
    """Emits domain events to the handlers of an event map, and integration events to a message broker.

    publisher: called on the first emit, so that constructing an emitter touches no network. turns: where deliveries
    of ordered handlers wait; called when there is one.
    messages: builds the Celery messages. timeout: seconds for each chunk of at most 1,000 deliveries.
    max_event_bytes: of one encoded event. message_broker: takes integration events; without one they cannot be emitted.
    topic: of integration events whose class names none.
    """

    def __init__(
        self,
        event_map: EventMap,
        publisher: Callable[[], Publisher],
        messages: MessageBuilder,
        *,
        timeout: float,
        max_event_bytes: int,
        turns: Callable[[], Turns] | None = None,
        message_broker: MessageBroker | None = None,
        topic: str = "events",
    ) -> None:
        self._map = event_map
        self._message_broker = message_broker
        self._topic = topic
        self._turns = turns
        self._publisher = publisher
        self._messages = messages
        self._timeout = timeout
        self._max_event_bytes = max_event_bytes
        #: Of what goes to Celery's broker, and to the message broker: neither waits for the other.
        self._batchers = (Batcher(self.hand_over), Batcher(self.hand_over))
        self._warned_empty = False

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """Emit events in one batch; return when the brokers have confirmed all of it.

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
            before_publish(messages)  # here, where receivers find the caller's context, and not in the batcher's thread
            await self._hand_over_soon(messages)
            after_publish(messages)
        return emissions

    async def _hand_over_soon(self, messages: Sequence[Carried]) -> None:
        celery, integration = self._split(messages)
        both: list[tuple[Batcher, Sequence[Carried]]] = [(self._batchers[0], celery), (self._batchers[1], integration)]
        shares = [(batcher, own) for batcher, own in both if own]
        asked = [batcher.ask(own, self._timeout) for batcher, own in shares]  # all at once: the order is that of calls
        if len(asked) == 1:
            await asked[0]
            return
        ended = await asyncio.gather(*asked, return_exceptions=True)
        errors = [
            error if isinstance(error, EmitError) else unsent(f"{type(error).__name__}: {error}", own)
            for error, (_, own) in zip(ended, shares, strict=True)
            if error is not None
        ]
        if errors:
            raise together(errors, messages) from errors[0]

    def close(self) -> None:
        """Send what coroutines have asked for, and end the thread that does. It can be used again."""
        for batcher in self._batchers:
            batcher.close(self._timeout)

    @property
    def turns(self) -> Turns:
        """Where deliveries wait for their turn."""
        if self._turns is None:
            raise ConfigurationError("this emitter has no coordination Redis: give it turns=, or use an EventSystem")
        return self._turns()

    def publish(self, messages: Sequence[Carried], timeout: float | None = None) -> None:
        """Hand messages to their brokers, confirmed. timeout: seconds for each chunk; default EMIT_TIMEOUT."""
        before_publish(messages)
        self.hand_over(messages, self._timeout if timeout is None else timeout)
        after_publish(messages)

    def hand_over(self, messages: Sequence[Carried], timeout: float) -> None:
        """As `publish`, without Celery's signals: they were sent when the messages were emitted.

        Each way keeps the order; one that fails does not hold up the others. Raises EmitError, which speaks of all.
        """
        celery, integration = self._split(messages)
        waiting = [message for message in celery if message.gates]
        if not waiting and not integration:
            publish_in_chunks(self._publisher(), celery, timeout)
            return
        ways: list[Way] = []
        if waiting:
            ways.append((waiting, lambda _: self.turns.enter(waiting)))
        others = [message for message in celery if not message.gates]
        if others:
            ways.append((others, lambda left: publish_in_chunks(self._publisher(), others, left)))
        broker = self._message_broker
        if integration and broker is not None:
            ways.append((integration, lambda left: publish_in_chunks(broker, integration, left)))
        go_each_way(ways, messages, timeout)

    def _split(self, messages: Sequence[Carried]) -> tuple[Sequence[Message], Sequence[IntegrationMessage]]:
        if self._message_broker is None:
            return cast("Sequence[Message]", messages), ()
        celery = [message for message in messages if isinstance(message, Message)]
        return celery, [message for message in messages if isinstance(message, IntegrationMessage)]

    def _prepare(self, events: Iterable[Event], scope: HandlingScope | None) -> tuple[list[Emission], list[Carried]]:
        emissions: list[Emission] = []
        messages: list[Carried] = []
        for event in events:
            if isinstance(event, IntegrationEvent):
                messages.append(self._integration_message(event, scope))
                emissions.append(Emission(event.event_id, ()))
                continue
            own = self._deliveries_of(event, scope)
            emissions.append(Emission(event.event_id, tuple(message.delivery for message in own)))
            messages.extend(own)
        return emissions, messages

    def messages_of(self, event: Event, scope: HandlingScope | None, group: str | None = None) -> list[Message]:
        """The messages of one domain event's deliveries, which nothing has been done with yet.

        scope: of the delivery that it follows from, if any. group: the id of the group whose members they are.
        """
        if isinstance(event, IntegrationEvent):
            self._required_broker(event)
            raise BindError(
                f"{type(event).__name__} is an integration event: it has no deliveries here that a group could count. "
                "Emit it with emit(...), or from a handler of the group's completion event"
            )
        return self._deliveries_of(event, scope, group)

    def _deliveries_of(self, event: Event, scope: HandlingScope | None, group: str | None = None) -> list[Message]:
        if not isinstance(event, Event):
            raise NotAnEvent(f"{event!r:.80} is no event: emit an instance of a DomainEvent subclass")
        refuse_dataclass(type(event))
        specs = self._map.route(type(event))
        if not specs:
            self._warn_unhandled(event)
            return []
        envelope = Envelope.of(event, None if scope is None else scope.cause)
        encoded = envelope.to_json()
        if len(encoded) > self._max_event_bytes:
            raise self._too_large(event, encoded)
        messages = self._messages.messages(specs, event, envelope, encoded, scope)
        for spec, message in zip(specs, messages, strict=True):
            if group is not None:
                _check_member(spec)
                message.headers[GROUP_HEADER] = group
            if group is not None or spec.ordered_by is not None:
                message.gates = passage(spec, event, group=group).gates
        return messages

    def _integration_message(self, event: IntegrationEvent, scope: HandlingScope | None) -> IntegrationMessage:
        broker = self._required_broker(event)
        refuse_dataclass(type(event))
        cause, traceparent = (None, None) if scope is None else (scope.cause, scope.traceparent)
        message = broker.message(event, Envelope.of(event, cause, traceparent), event.topic or self._topic)
        if len(message.body) > self._max_event_bytes:
            raise self._too_large(event, message.body)
        return message

    def _required_broker(self, event: IntegrationEvent) -> MessageBroker:
        if self._message_broker is None:
            raise BrokerNotConfigured(
                f"To use {_kind_name(event)}, message_broker argument must be specified. ({type(event).__name__} is an "
                "integration event, which goes to a message broker; make it a DomainEvent to reach this application's "
                "handlers)"
            )
        return self._message_broker

    def _too_large(self, event: Event, encoded: bytes) -> EventTooLarge:
        return EventTooLarge(
            f"{event.event_type} {event.event_id} has {len(encoded):,} bytes, more than MAX_EVENT_BYTES "
            f"({self._max_event_bytes:,}): emit a reference to the data, or raise EVENTS_MAX_EVENT_BYTES"
        )

    def _warn_unhandled(self, event: Event) -> None:
        if self._map:
            logger.warning("%s %s: no handler is bound to it, nothing will happen", event.event_type, event.event_id)
        elif not self._warned_empty:
            self._warned_empty = True
            logger.warning("no handler is bound at all: name the modules that bind them in handlers=[...]")


def _check_member(spec: HandlerSpec) -> None:
    if spec.kind == "task":
        raise BindError(
            f"{spec.name} is a Celery task of its own, and nobody learns when it is done: its events cannot be emitted "
            "in a group. Emit them without one, or bind a handler that does the work"
        )


def _kind_name(event: IntegrationEvent) -> str:
    """The class of ours that it derives from: NotificationEvent, ECSTEvent or IntegrationEvent."""
    return next(base.__name__ for base in type(event).__mro__ if base.__module__ == IntegrationEvent.__module__)
