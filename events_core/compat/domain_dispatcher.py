"""DomainEventDispatcher: handlers of entities' events run at once, in the caller's transaction."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from events_core.compat.domain_factory import DomainEventHandlerFactory
from events_core.containers.steps import Steps, awalk
from events_core.entities import Entity, emitted, not_emitted, pending_events
from events_core.errors import BrokerNotConfigured, EmitMisused
from events_core.events import Event, IntegrationEvent
from events_core.handlers import returned_events
from events_core.system import EventSystem

logger = logging.getLogger("events_core.emitter")  # what it says there: nothing will happen

#: Events that may follow from one another in one transaction, as MAX_HOPS has it elsewhere.
_MAX_HOPS = 32


class DomainEventDispatcher:
    """Runs the handlers of entities' events in the caller's transaction, one after another, breadth first.

    What handlers publish on these entities, or return, is handled in the same call. An entity keeps its events until
    all handlers have succeeded. As a context manager, sync or async, it processes at the end of the block, but not if
    the block raises. For one transaction at a time.

    handler_factory: makes the handlers. system: events that have handlers there, and integration events, are emitted to
    it, in one batch, when all handlers have succeeded.
    """

    def __init__(self, handler_factory: DomainEventHandlerFactory, system: EventSystem | None = None) -> None:
        self._factory = handler_factory
        self._system = system
        self._entities: list[Entity] = []
        self._stored: list[Event] = []
        self._runs = False

    def from_entity(self, entity: Entity) -> None:
        """Process what the entity has published, and publishes until then. Raises TypeError for what is no Entity."""
        pending_events(entity)
        if not any(known is entity for known in self._entities):
            self._entities.append(entity)

    def store_events(self, events: Iterable[Event]) -> None:
        """Process these events, too."""
        self._stored.extend(events)

    def store_event(self, event: Event) -> None:
        """Process this event, too."""
        self._stored.append(event)

    async def process(self) -> None:
        """Run the handlers. Raises what one of them raised; then the entities keep their events, all of them."""
        system = self._system
        await awalk(self._steps(None if system is None else system.aemit_many))

    def process_sync(self) -> None:
        """As `process`, for handlers that are not async. Raises EmitMisused for one that is."""
        system = self._system
        steps = self._steps(None if system is None else system.emit_many)
        for waiting in steps:
            steps.close()
            getattr(waiting, "close", lambda: None)()  # a coroutine that nobody awaits
            raise EmitMisused(
                "a domain event handler or its factory is async: use `async with dispatcher`, or `await process()`"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.process_sync()
        finally:
            self._forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                await self.process()
        finally:
            self._forget()

    def _forget(self) -> None:
        if not self._runs:  # else this is a block within a handler, and the call that runs it goes on
            self._entities, self._stored = [], []

    def _steps(self, emit: Callable[[list[Event]], Any] | None) -> Steps[None]:
        if self._runs:
            return  # called by a handler: the call that runs it handles what is new
        self._runs = True
        try:
            if self._system is not None:
                self._system.load()  # what handlers it has
            work = _Work(self._take)
            while (event := work.next()) is not None:
                yield from self._handle(event, work)
            others = [event for event in work.done if self._is_for_system(event)]
            yield from self._end(others, emit)
        finally:
            self._runs = False

    def _handle(self, event: Event, work: _Work) -> Steps[None]:
        handlers: Any = self._factory.create(type(event))
        if inspect.isawaitable(handlers):
            handlers = yield handlers
        handlers = list(handlers)
        for handler in handlers:
            returned = handler.handle(event)
            if inspect.isawaitable(returned):
                returned = yield returned
            work.follow(event, returned_events(returned, type(handler).__qualname__) or [])
        if not handlers and not self._is_for_system(event):
            logger.warning("%s %s: no handler is bound to it, nothing will happen", event.event_type, event.event_id)

    def _take(self) -> list[Event]:
        return [*self._stored, *(event for entity in self._entities for event in pending_events(entity))]

    def _end(self, others: list[Event], emit: Callable[[list[Event]], Any] | None) -> Steps[None]:
        entities, stored = self._entities, self._stored
        self._entities, self._stored = [], []
        handled = [event for entity in entities for event in entity.collect_events()]
        try:
            if others and emit is not None:
                sent = emit(others)
                if inspect.isawaitable(sent):
                    yield sent
        except Exception:
            not_emitted(handled)
            self._entities, self._stored = entities, stored
            raise
        # Of the others the emitter decides: within hold() they are not safe yet.
        theirs = {id(event) for event in others}
        emitted([event for event in handled if id(event) not in theirs])

    def _is_for_system(self, event: Event) -> bool:
        if isinstance(event, IntegrationEvent) and self._system is None:
            raise BrokerNotConfigured(
                f"{type(event).__name__} is an integration event, for other services: give the dispatcher the system "
                "that sends it, DomainEventDispatcher(factory, system=...)"
            )
        if self._system is None:
            return False
        bound = self._system.event_map
        return isinstance(event, IntegrationEvent) or bool(
            bound.route(type(event)) or bound.in_transaction(type(event))
        )


class _Work:
    """The events of one call of `process`, first in, first out. take: those that are there now, old ones included."""

    def __init__(self, take: Callable[[], list[Event]]) -> None:
        self._take = take
        self._waiting: deque[Event] = deque()
        self._chains: dict[Any, tuple[str, ...]] = {}  # by event id, the types that led there
        self._cause: Event | None = None
        self.done: list[Event] = []

    def next(self) -> Event | None:
        """The next event; None when all are handled."""
        self.follow(self._cause, self._take())
        if not self._waiting:
            return None
        self._cause = self._waiting.popleft()
        self.done.append(self._cause)
        return self._cause

    def follow(self, cause: Event | None, events: Iterable[Event]) -> None:
        """Add those that are new."""
        chain = () if cause is None else self._chains[cause.event_id]
        for event in events:
            if event.event_id in self._chains:
                continue
            self._chains[event.event_id] = (*chain, event.event_type)
            if len(chain) > _MAX_HOPS:
                raise EmitMisused(
                    f"{len(chain)} events followed from one another in one transaction, more than {_MAX_HOPS}: "
                    f"{' > '.join(chain[-4:])}. Break the circle where an event says no news"
                )
            self._waiting.append(event)
