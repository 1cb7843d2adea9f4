"""Which handlers belong to which events, in the order they were bound."""

from __future__ import annotations

import fnmatch
import threading
from typing import Any, NoReturn, Unpack
from weakref import WeakKeyDictionary

from events_core.entities import carries_entity
from events_core.errors import BindError, DuplicateBinding
from events_core.events import Event, IntegrationEvent
from events_core.forking import call_in_child
from events_core.gate_definitions import Definers, check_definitions, check_keys, check_secret_keys
from events_core.handler_options import HandlerOptions
from events_core.handlers import HandlerSpec, accepted_event, inspect_handler
from events_core.subscribers import Subscriber

#: The handlers of an event: those that have deliveries, and those that run in the caller's transaction.
_Route = tuple[tuple[HandlerSpec, ...], tuple[HandlerSpec, ...]]


class EventMap:
    """Binds handlers to event classes, their base classes, or patterns on the type name (``"order.*"``)."""

    def __init__(self) -> None:
        self._by_class: dict[type[Event], list[tuple[int, HandlerSpec]]] = {}
        self._by_pattern: dict[str, list[tuple[int, HandlerSpec]]] = {}
        self._specs: dict[str, HandlerSpec] = {}
        self._names: dict[str, HandlerSpec] = {}  # aliases included
        self._subscribers: list[Subscriber] = []
        self._definers: Definers = {}
        self._routes: WeakKeyDictionary[type[Event], _Route] = WeakKeyDictionary()
        self._count = 0
        self._in_transactions = False
        self._new_lock()
        call_in_child(self._new_lock)

    def _new_lock(self) -> None:
        self._lock = threading.Lock()

    def bind(self, event: type[Event] | str, handler: Any, **options: Unpack[HandlerOptions]) -> HandlerSpec:
        """Bind `handler` to an event class or to a pattern on the type name.

        handler: a function with one parameter, a class with ``handle(self, event)``, or a Celery task.
        name: default ``module.qualname``. queue: default is the system's. retry: default ``Retry()``; None is none.
        timeout: seconds one run may take. aliases: names this handler had before; deliveries under those reach it.
        limit: a Limit or Rate, or a list of them, all of which let a delivery pass at once. breaker: one Breaker.
        What must wait holds no worker.
        ordered_by: the path of a field, or a function of the event; deliveries for which it gives the same run one at
        a time, in the order they were emitted in. on_dead: ``"hold"`` lets those behind a dead one wait for its
        redrive; default is ``"continue"``.
        fallback: a function or class as `handler`, which runs in its place, within the same timeout: instead of a dead
        letter (fallback_on ``"exhausted"``, the default), while the breaker is open (``"open"``), or ``"both"``.
        args: makes of the event what a Celery task is called with. Such a task has its own name and options: of these
        it takes `queue` and `args` only.
        in_transaction: it runs during emit, in the caller's thread and transaction, before anything is sent; its error
        is the caller's, and then nothing is sent. It has no delivery, and so none of the other options but `name`. An
        async one needs `aemit`. What it returns or emits is emitted together with the event.

        Raises BindError where the worker could not run it, where the event class has no field that a key names, and
        where another handler defines the same limit, rate or breaker differently; DuplicateBinding where it is bound
        already.
        """
        check_event(event)
        spec = inspect_handler(handler, **options)
        if isinstance(event, type) and spec.kind != "task":
            _check_accepts(event, spec)
            check_keys(event, spec)
        if isinstance(event, type) and not spec.in_transaction and carries_entity(event) is not None:
            refuse_entity(event, spec.name)
        with self._lock:
            spec = self._add(event, spec)
        return spec

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a handler of integration events. Raises BindError and DuplicateBinding as `bind`."""
        spec = subscriber.spec
        for event in subscriber.events:
            refuse_dataclass(event)
            _check_accepts(event, spec)
            check_keys(event, spec)
        with self._lock:
            self._check_names(spec)
            for other in self._subscribers:
                twice = [*(set(other.topics.items()) & set(subscriber.topics.items()))]
                if other.spec.name == spec.name and twice:
                    event, topic = twice[0]
                    raise DuplicateBinding(
                        f"{spec.name} is subscribed to {event.__qualname__} of topic {topic!r} already, by the queue "
                        f"{other.queue!r}: remove one of the two"
                    )
            self._remember(spec)
            self._subscribers.append(subscriber)

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """The handlers of integration events, in bind order."""
        return tuple(self._subscribers)

    def _check_names(self, spec: HandlerSpec) -> None:
        known = self._names.get(spec.name)
        if known is not None and known != spec:
            what = "with other options" if known.target is spec.target else f"by {known.target!r}"
            raise DuplicateBinding(f"the handler name {spec.name!r} is taken {what}: give one of them another name=")
        for alias in spec.aliases:
            if self._names.get(alias, spec) != spec:
                raise DuplicateBinding(f"{spec.name}: the alias {alias!r} is the name of another handler")

    def _remember(self, spec: HandlerSpec) -> HandlerSpec:
        self._definers |= check_definitions(spec, self._definers)
        spec = self._names.get(spec.name, spec)
        self._specs[spec.name] = spec
        self._in_transactions |= spec.in_transaction
        self._names.update(dict.fromkeys((spec.name, *spec.aliases), spec))
        self._routes.clear()
        return spec

    def _add(self, event: type[Event] | str, spec: HandlerSpec) -> HandlerSpec:
        self._check_names(spec)
        bound = (
            self._by_pattern.setdefault(event, []) if isinstance(event, str) else self._by_class.setdefault(event, [])
        )
        if any(other.name == spec.name for _, other in bound):
            raise DuplicateBinding(f"{spec.name} is bound to {_label(event)} already: remove one of the two")
        spec = self._remember(spec)
        bound.append((self._count, spec))
        self._count += 1
        return spec

    def route(self, event_class: type[Event]) -> tuple[HandlerSpec, ...]:
        """The handlers that have deliveries of an event class, each once, in bind order."""
        return self._route(event_class)[0]

    def in_transaction(self, event_class: type[Event]) -> tuple[HandlerSpec, ...]:
        """The handlers of an event class that run in the caller's transaction, each once, in bind order."""
        return self._route(event_class)[1] if self.runs_in_transactions else ()

    @property
    def runs_in_transactions(self) -> bool:
        """Whether any handler does."""
        return self._in_transactions

    def _route(self, event_class: type[Event]) -> _Route:
        try:
            return self._routes[event_class]
        except KeyError:
            with self._lock:
                found = self._find(event_class)
                inside = tuple(spec for spec in found if spec.in_transaction)
                outside = tuple(spec for spec in found if not spec.in_transaction)
                return self._routes.setdefault(event_class, (outside, inside))

    def _find(self, event_class: type[Event]) -> tuple[HandlerSpec, ...]:
        found = [entry for base in event_class.__mro__ for entry in self._by_class.get(base, ())]
        for pattern, entries in self._by_pattern.items():
            if fnmatch.fnmatchcase(event_class.event_type, pattern):
                found.extend(entries)
        specs = tuple(dict.fromkeys(spec for _, spec in sorted(found, key=lambda entry: entry[0])))
        for spec in specs:  # those that are bound to a base class or a pattern were not asked yet
            check_secret_keys(event_class, spec)
        return specs

    def find(self, handler_name: str) -> HandlerSpec | None:
        """The handler of that name or alias."""
        return self._names.get(handler_name)

    @property
    def handlers(self) -> tuple[HandlerSpec, ...]:
        """All handlers, in bind order."""
        return tuple(self._specs.values())

    @property
    def names(self) -> dict[str, HandlerSpec]:
        """Every name under which deliveries may arrive, aliases included."""
        return dict(self._names)

    @property
    def bindings(self) -> list[tuple[type[Event] | str, HandlerSpec]]:
        """Every binding, in bind order."""
        keyed: list[tuple[int, type[Event] | str, HandlerSpec]] = [
            (order, key, spec)
            for table in (self._by_class, self._by_pattern)
            for key, entries in table.items()
            for order, spec in entries
        ]
        return [(key, spec) for _, key, spec in sorted(keyed, key=lambda entry: entry[0])]

    def __bool__(self) -> bool:
        return bool(self._specs)


def check_event(event: Any) -> None:
    """Raise BindError unless a handler can be bound to `event`."""
    if isinstance(event, str):
        if not event.strip():
            raise BindError("the pattern is empty: bind to an event class or to a pattern such as 'order.*'")
        return
    if not isinstance(event, type) or not issubclass(event, Event):
        if hasattr(event, "handle") or (callable(event) and not isinstance(event, type)):
            raise BindError(
                f"{getattr(event, '__qualname__', event)!r} is a handler, and no event class: write "
                "@events.handler(OrderPlaced), with the event that it handles"
            )
        what = repr(event) if isinstance(event, type) else f"a value of type {type(event).__name__}"
        raise BindError(f"{what} is no event class: subclass DomainEvent, or give a pattern such as 'order.*'")
    refuse_dataclass(event)
    if issubclass(event, IntegrationEvent):
        raise BindError(
            f"{event.__qualname__} is an integration event: it goes to the message broker and to no handler here. "
            "Receive it with @events.subscriber(...), or make it a DomainEvent"
        )
    if event is Event:
        raise BindError("Event is the base of integration events too: bind to DomainEvent for all domain events")


def refuse_dataclass(event_class: type[Event]) -> None:
    """Raise BindError for an event class under @dataclass, which replaces the model's constructor in silence."""
    if "__dataclass_fields__" in event_class.__dict__:
        raise BindError(
            f"{event_class.__qualname__} is decorated with @dataclass: remove it, events are models already"
        )


def refuse_entity(event_class: type[Event], handler: str) -> NoReturn:
    """Raise BindError: an event with an entity in it cannot leave the process, but its handler is elsewhere."""
    raise BindError(
        f"{event_class.__qualname__} carries an entity in its field {carries_entity(event_class)!r}, and cannot be "
        f"sent to a worker, where {handler} runs: give the event the entity's id instead, or bind the handler with "
        "in_transaction=True, which runs it in the caller's transaction"
    )


def _check_accepts(event: type[Event], spec: HandlerSpec) -> None:
    accepted = accepted_event(spec.target)
    if accepted is not None and not issubclass(event, accepted):
        raise BindError(
            f"{spec.name} takes {accepted.__qualname__}, but is bound to {event.__qualname__}: correct one of the two"
        )
    if spec.fallback is not None:
        _check_accepts(event, spec.fallback)


def _label(event: type[Event] | str) -> str:
    return repr(event) if isinstance(event, str) else event.__qualname__
