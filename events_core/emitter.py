"""A domain event becomes its deliveries, an integration event one message; both go out confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from events_core import entities
from events_core.admission.turns import Turns
from events_core.brokers.base import IntegrationMessage, MessageBroker
from events_core.containers import AnyContainer
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EmitError, EmitMisused
from events_core.event_map import EventMap
from events_core.events import Event, IntegrationEvent
from events_core.handlers import HandlerSpec
from events_core.hold import DeliverLater, Fate, Sending, held_by
from events_core.in_transaction import Joined, acall, call, check_hops, joined_by, joining
from events_core.preparing import GROUP_HEADER, Preparing
from events_core.publishing.base import Publisher, publish_in_chunks, unsent
from events_core.publishing.batcher import Batcher
from events_core.publishing.messages import Carried, Delivery, Message, MessageBuilder
from events_core.publishing.signals import after_publish, before_publish
from events_core.publishing.ways import Way, go_each_way, together
from events_core.scope import HandlingScope, current_scope

if TYPE_CHECKING:
    from events_core.compat.emitter import EventEmitter

__all__ = ["GROUP_HEADER", "DeliveryEmitter", "Emission", "EventEmitter"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Emission:
    """What emit did: the event's id and its deliveries, each as (handler, task_id, queue).

    An integration event has none here: it went to its topic.
    """

    event_id: UUID
    deliveries: tuple[Delivery, ...]


def __getattr__(name: str) -> Any:
    """`EventEmitter`, made of an event map as replaced systems make theirs, is looked for here."""
    if name != "EventEmitter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("events_core.compat").EventEmitter


class DeliveryEmitter:
    """Emits domain events to the handlers of an event map, and integration events to a message broker.

    publisher: called on the first emit, so that constructing an emitter touches no network. turns: where deliveries
    of ordered handlers wait; called when there is one.
    messages: builds the Celery messages. timeout: seconds for each chunk of at most 1,000 deliveries.
    max_event_bytes: of one encoded event. message_broker: takes integration events; without one they cannot be emitted.
    topic: of integration events whose class names none. container: makes the instances of in-transaction handlers.
    max_hops: how many events may follow from one another in one transaction.
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
        container: AnyContainer | None = None,
        max_hops: int = 32,
    ) -> None:
        self._map = event_map
        self._message_broker = message_broker
        self._turns = turns
        self._publisher = publisher
        self._preparing = Preparing(
            event_map, messages, max_event_bytes=max_event_bytes, message_broker=message_broker, topic=topic
        )
        self._timeout = timeout
        self._container = container
        self._max_hops = max_hops
        #: Of what goes to Celery's broker, and to the message broker: neither waits for the other.
        self._batchers = (Batcher(self.hand_over), Batcher(self.hand_over))
        #: Takes what an emit would send now, and sends it later; see `EventSystem.deliver_later`.
        self.deliver_later: DeliverLater | None = None
        self._warned_of_blocking = False

    def emit(self, event: Event, *, now: bool = False) -> Emission:
        """As `emit_many`, one event."""
        return self.emit_many((event,), now=now)[0]

    async def aemit(self, event: Event, *, now: bool = False) -> Emission:
        """As `aemit_many`, one event."""
        return (await self.aemit_many((event,), now=now))[0]

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """Emit events in one batch; return when the brokers have confirmed all of it.

        Inside a handler they are held back until it has succeeded, unless `now`; likewise in a `hold` block.
        In-transaction handlers run first. Raises EmitError, which tells what is confirmed, uncertain and unsent;
        NotAnEvent, EventTooLarge, BrokerNotConfigured before anything is sent.
        """
        events = events if isinstance(events, list | tuple) else list(events)
        try:
            emissions, joined = self._prepare(events, now)
            if joined.waiting:
                with joining(joined):
                    for spec, event in self._in_transaction(joined):
                        self._join(joined, call(spec, event, self._container))
        except BaseException:
            entities.not_emitted(events)
            raise
        if joined.events and not self._keeps(joined, now):
            self.send(joined.messages, joined.events)
        return emissions

    async def aemit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `emit_many`, without blocking the event loop; concurrent calls share one batch.

        Cancelling it does not withdraw the events.
        """
        events = events if isinstance(events, list | tuple) else list(events)
        try:
            emissions, joined = self._prepare(events, now)
            if joined.waiting:
                with joining(joined):
                    for spec, event in self._in_transaction(joined):
                        self._join(joined, await acall(spec, event, self._container))
        except BaseException:
            entities.not_emitted(events)
            raise
        if joined.events and not self._keeps(joined, now):
            await self.asend(joined.messages, joined.events)
        return emissions

    def _prepare(self, events: Iterable[Event], now: bool) -> tuple[list[Emission], Joined]:
        """The messages of the events, and which of these have in-transaction handlers."""
        outer = joined_by(self)
        if outer is not None and not now:
            return self._add(outer, events), Joined(self)
        joined = Joined(self, cause=None if outer is None else outer.cause)
        return self._add(joined, events), joined

    def _add(self, joined: Joined, events: Iterable[Event]) -> list[Emission]:
        scope = current_scope()
        cause = joined.cause if joined.cause is not None else None if scope is None else scope.cause
        emissions: list[Emission] = []
        messages: list[Carried] = []
        own: list[Event] = []
        for event in events:
            made = self._preparing.messages_of(event, scope, cause)
            integration = isinstance(event, IntegrationEvent)
            emissions.append(Emission(event.event_id, () if integration else tuple(m.delivery for m in made)))
            messages.extend(made)
            own.append(event)
        joined.messages.extend(messages)
        joined.events.extend(own)
        if self._map.runs_in_transactions:
            joined.waiting.extend((event, cause) for event in own if self._map.in_transaction(type(event)))
        return emissions

    def _join(self, joined: Joined, returned: list[Event]) -> None:
        if returned:
            self._add(joined, returned)

    def _in_transaction(self, joined: Joined) -> Iterator[tuple[HandlerSpec, Event]]:
        """Each handler to run, as long as what they emit has any, too."""
        while joined.waiting:
            event, cause = joined.waiting.popleft()
            joined.cause = Envelope.without_data(event, cause)
            check_hops(joined.cause, self._max_hops)
            for spec in self._map.in_transaction(type(event)):
                # a copy each, as deliveries have: what one does to a list in it, no other one sees; an entity is shared
                own = event if entities.carries_entity(type(event)) else event.model_copy(deep=True)
                yield spec, own

    def _keeps(self, joined: Joined, now: bool) -> bool:
        return not now and self.keeps(joined.messages, joined.events)

    def keeps(self, messages: Sequence[Carried], events: Sequence[Event]) -> bool:
        """Whether it goes out later: with a hold block, the delivery that is handled, or a transaction."""
        held = held_by(self)
        if held is not None:
            held.messages.extend(messages)
            held.events.extend(events)
            held.fates.extend(self._fate(messages, events))
            return True
        scope = current_scope()
        if scope is not None and not scope.closed:
            scope.held.extend(messages)
            scope.fates.extend(self._fate(messages, events))
            entities.emitted(events)
            return True
        later = self.deliver_later
        try:
            return later is not None and later(Sending(self, messages, events))
        except BaseException:  # the caller's transaction is such that nobody can wait for it
            entities.not_emitted(events)
            raise

    def _fate(self, messages: Sequence[Carried], events: Sequence[Event]) -> list[Fate]:
        """What tells whether the caller's transaction was rolled back; nothing where nobody knows of one."""
        watch = getattr(self.deliver_later, "watch", None)
        if watch is None:
            return []
        fate = Fate(messages, events)
        return [fate] if fate.watched(watch) else []

    def check_may_send(self) -> None:
        """Raise EmitMisused where what is emitted would go out later; for what cannot wait."""
        scope = current_scope()
        if scope is not None and not scope.closed:
            return
        if held_by(self) is not None or (self.deliver_later is not None and self.deliver_later(None)):
            raise EmitMisused(
                "a group is emitted at once, and cannot wait for a transaction or for hold(): emit it after the commit "
                "(Django: transaction.on_commit(lambda: events.emit_group(...)))"
            )

    def warn_if_blocking(self, called: str = "emit") -> None:
        """Say once that the caller's event loop stands still. called: what it has called."""
        if not self._warned_of_blocking and asyncio._get_running_loop() is not None:
            self._warned_of_blocking = True
            logger.warning(
                "%s() was called on an event loop, which stands still until the broker has answered: use "
                "await a%s(...) there",
                called, called,
            )  # fmt: skip

    def send(self, messages: Sequence[Carried], events: Sequence[Event] = ()) -> None:
        """Publish what has been emitted. events: those that it stands for, which their entities may forget then."""
        try:
            if messages:
                self.warn_if_blocking()
                self.publish(messages)
        except BaseException:
            entities.not_emitted(events)
            raise
        entities.emitted(events)

    async def asend(self, messages: Sequence[Carried], events: Sequence[Event] = ()) -> None:
        """As `send`, without blocking the event loop; concurrent calls share one batch."""
        try:
            if messages:
                before_publish(messages)  # here, where receivers find the caller's context, not in the batcher's thread
                await self._hand_over_soon(messages)
                after_publish(messages)
        except asyncio.CancelledError:  # not withdrawn
            raise
        except BaseException:
            entities.not_emitted(events)
            raise
        entities.emitted(events)

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

    def messages_of(self, event: Event, scope: HandlingScope | None, group: str | None = None) -> list[Message]:
        """The messages of one domain event's deliveries, which nothing has been done with yet.

        scope: of the delivery that it follows from, if any. group: the id of the group whose members they are.
        """
        return self._preparing.member_messages_of(event, scope, group)
