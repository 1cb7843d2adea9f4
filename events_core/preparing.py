"""An event becomes what is sent for it: the messages of its deliveries, or one message for the message broker."""

from __future__ import annotations

import logging

from events_core.admission.gates import passage
from events_core.brokers.base import IntegrationMessage, MessageBroker
from events_core.entities import carries_entity
from events_core.envelope import Envelope
from events_core.errors import BindError, BrokerNotConfigured, EventTooLarge, NotAnEvent
from events_core.event_map import EventMap, refuse_dataclass, refuse_entity
from events_core.events import Event, IntegrationEvent
from events_core.handlers import HandlerSpec
from events_core.publishing.messages import Carried, Message, MessageBuilder
from events_core.scope import HandlingScope

# This one line is the emitter's to the application: nothing will happen.
logger = logging.getLogger("events_core.emitter")

#: The group that a delivery is a member of.
GROUP_HEADER = "events-group"


class Preparing:
    """Makes the messages. Raises for everything that can be wrong with an event, before anything is sent.

    Parameters as those of `DeliveryEmitter`.
    """

    def __init__(
        self,
        event_map: EventMap,
        messages: MessageBuilder,
        *,
        max_event_bytes: int,
        message_broker: MessageBroker | None,
        topic: str,
    ) -> None:
        self._map = event_map
        self._messages = messages
        self._max_event_bytes = max_event_bytes
        self._message_broker = message_broker
        self._topic = topic
        self._warned_empty = False

    def messages_of(self, event: Event, scope: HandlingScope | None, cause: Envelope | None) -> list[Carried]:
        """What is sent for one event. scope: of the delivery that it follows from. cause: the event it follows from."""
        if isinstance(event, IntegrationEvent):
            return [self._integration_message(event, scope, cause)]
        return [*self.deliveries_of(event, scope, cause)]

    def deliveries_of(
        self, event: Event, scope: HandlingScope | None, cause: Envelope | None, group: str | None = None
    ) -> list[Message]:
        """The messages of the deliveries of one domain event. group: the id of the group whose members they are."""
        if not isinstance(event, Event):
            raise NotAnEvent(_what_it_is(event))
        refuse_dataclass(type(event))
        specs = self._map.route(type(event))
        if not specs:
            if not self._map.in_transaction(type(event)):
                self._warn_unhandled(event)
            return []
        if carries_entity(type(event)) is not None:
            refuse_entity(type(event), specs[0].name)
        envelope = Envelope.of(event, cause)
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

    def member_messages_of(self, event: Event, scope: HandlingScope | None, group: str | None) -> list[Message]:
        """As `deliveries_of`, of an event that may be emitted in a group."""
        if isinstance(event, IntegrationEvent):
            self._required_broker(event)
            raise BindError(
                f"{type(event).__name__} is an integration event: it has no deliveries here that a group could count. "
                "Emit it with emit(...), or from a handler of the group's completion event"
            )
        if self._map.in_transaction(type(event)):
            raise BindError(
                f"{type(event).__name__} has handlers with in_transaction=True, which a group cannot run: emit it with "
                "emit(...) or emit_many(...)"
            )
        return self.deliveries_of(event, scope, None if scope is None else scope.cause, group)

    def _integration_message(
        self, event: IntegrationEvent, scope: HandlingScope | None, cause: Envelope | None
    ) -> IntegrationMessage:
        broker = self._required_broker(event)
        refuse_dataclass(type(event))
        if carries_entity(type(event)) is not None:
            refuse_entity(type(event), "whoever hears it")
        envelope = Envelope.of(event, cause, None if scope is None else scope.traceparent)
        message = broker.message(event, envelope, event.topic or self._topic)
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


def _what_it_is(value: object) -> str:
    """Names a class or a function that was given by mistake; of other things only their type: they may be secret."""
    name = getattr(value, "__qualname__", None)
    if isinstance(value, type) and issubclass(value, Event):
        return f"{name} is no event: emit an instance of a DomainEvent subclass, such as {name}(...)"
    what = f"{name} " if isinstance(name, str) else f"a value of type {type(value).__name__} "
    return f"{what}is no event: emit an instance of a DomainEvent subclass"


def _check_member(spec: HandlerSpec) -> None:
    if spec.kind == "task":
        raise BindError(
            f"{spec.name} is a Celery task of its own, and nobody learns when it is done: its events cannot be emitted "
            "in a group. Emit them without one, or bind a handler that does the work"
        )


def _kind_name(event: IntegrationEvent) -> str:
    """The class of ours that it derives from: NotificationEvent, ECSTEvent or IntegrationEvent."""
    return next(base.__name__ for base in type(event).__mro__ if base.__module__ == IntegrationEvent.__module__)
