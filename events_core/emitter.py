"""EventEmitter: an event becomes its deliveries, which go to the broker in one confirmed batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from events_core.admission.gates import passage
from events_core.admission.turns import Turns
from events_core.envelope import Envelope
from events_core.errors import BindError, BrokerNotConfigured, ConfigurationError, EmitError, EventTooLarge, NotAnEvent
from events_core.event_map import EventMap, refuse_dataclass
from events_core.events import Event, IntegrationEvent
from events_core.handlers import HandlerSpec
from events_core.publishing.base import Publisher, publish_in_chunks
from events_core.publishing.batcher import Batcher
from events_core.publishing.messages import Delivery, Message, MessageBuilder
from events_core.publishing.signals import after_publish, before_publish
from events_core.scope import HandlingScope, current_scope

logger = logging.getLogger(__name__)

#: Seconds that publishing has at least, however long others of the same call took.
_AT_LEAST = 0.1

#: The group that a delivery is a member of.
GROUP_HEADER = "events-group"


@dataclass(frozen=True, slots=True)
class Emission:
    """What emit did: the event's id and its deliveries, each as (handler, task_id, queue)."""

    event_id: UUID
    deliveries: tuple[Delivery, ...]


class EventEmitter:
    """Emits events to the handlers of an event map.

    publisher: called on the first emit, so that constructing an emitter touches no network. turns: where deliveries
    of ordered handlers wait; called when there is one.
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
        turns: Callable[[], Turns] | None = None,
    ) -> None:
        self._map = event_map
        self._turns = turns
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
                self._batcher = Batcher(self.hand_over)
            before_publish(messages)  # here, where receivers find the caller's context, and not in the batcher's thread
            await self._batcher.publish(messages, self._timeout)
            after_publish(messages)
        return emissions

    @property
    def turns(self) -> Turns:
        """Where deliveries wait for their turn."""
        if self._turns is None:
            raise ConfigurationError("this emitter has no coordination Redis: give it turns=, or use an EventSystem")
        return self._turns()

    def publish(self, messages: Sequence[Message], timeout: float | None = None) -> None:
        """Hand messages to the broker, confirmed. timeout: seconds for each chunk; default EMIT_TIMEOUT."""
        before_publish(messages)
        self.hand_over(messages, self._timeout if timeout is None else timeout)
        after_publish(messages)

    def hand_over(self, messages: Sequence[Message], timeout: float) -> None:
        """As `publish`, without Celery's signals: they were sent when the messages were emitted."""
        waiting = [message for message in messages if message.gates]
        if not waiting:
            publish_in_chunks(self._publisher(), messages, timeout)
            return
        others = [message for message in messages if not message.gates]
        errors: list[EmitError] = []
        started = time.monotonic()
        try:
            self.turns.enter(waiting)
        except EmitError as error:
            errors.append(error)
        if others:  # perhaps on another server: the one may be there without the other
            try:
                left = max(timeout - (time.monotonic() - started), _AT_LEAST)
                publish_in_chunks(self._publisher(), others, left)
            except EmitError as error:
                errors.append(error)
        if errors:
            raise _together(errors, messages) from errors[0]

    def _prepare(self, events: Iterable[Event], scope: HandlingScope | None) -> tuple[list[Emission], list[Message]]:
        emissions: list[Emission] = []
        messages: list[Message] = []
        for event in events:
            own = self.messages_of(event, scope)
            emissions.append(Emission(event.event_id, tuple(message.delivery for message in own)))
            messages.extend(own)
        return emissions, messages

    def messages_of(self, event: Event, scope: HandlingScope | None, group: str | None = None) -> list[Message]:
        """The messages of one event's deliveries, which nothing has been done with yet.

        scope: of the delivery that it follows from, if any. group: the id of the group whose members they are.
        """
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
        messages = self._messages.messages(specs, event, envelope, encoded, scope)
        for spec, message in zip(specs, messages, strict=True):
            if group is not None:
                _check_member(spec)
                message.headers[GROUP_HEADER] = group
            if group is not None or spec.ordered_by is not None:
                message.gates = passage(spec, event, group=group).gates
        return messages

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


def _together(errors: Sequence[EmitError], messages: Sequence[Message]) -> EmitError:
    """One error of several, with what became of all messages: what no error speaks of is confirmed."""
    uncertain = [delivery for error in errors for delivery in error.uncertain]
    unsent = [delivery for error in errors for delivery in error.unsent]
    failed = {*uncertain, *unsent}
    confirmed = [message.delivery for message in messages if message.delivery not in failed]
    reason = "; ".join(error.reason for error in errors)
    return EmitError(reason, confirmed=confirmed, uncertain=uncertain, unsent=unsent)


def _kind_name(event: IntegrationEvent) -> str:
    """The class of ours that it derives from: NotificationEvent, ECSTEvent or IntegrationEvent."""
    return next(base.__name__ for base in type(event).__mro__ if base.__module__ == IntegrationEvent.__module__)
