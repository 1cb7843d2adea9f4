"""EventSystem: puts the parts together for an application."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from weakref import WeakSet

from celery import Celery

from events_core.admission.turns import Turns
from events_core.brokers.base import MessageBroker
from events_core.catalog import Upcast, upcaster
from events_core.celery_app import celery_broker_url, make_celery_app, tell_worker
from events_core.containers import AnyContainer
from events_core.containers.adapting import check_container
from events_core.coordination import connect
from events_core.embedded import EmbeddedRedis, open_embedded
from events_core.emitter import DeliveryEmitter, Emission
from events_core.errors import BindError, BrokerNotConfigured, ConfigurationError, HandlersNotLoaded
from events_core.event_map import EventMap, check_event
from events_core.events import Event, IntegrationEvent
from events_core.forking import call_in_child
from events_core.group_emitter import GroupEmitter, OnComplete
from events_core.groups import Group
from events_core.handler_options import GRANTED, HandlerOptions, SubscriberOptions
from events_core.handlers import HandlerSpec, inspect_handler, real_module_name
from events_core.hold import DeliverLater, Hold
from events_core.publishing.base import Publisher
from events_core.publishing.connect import publisher_for
from events_core.publishing.messages import MessageBuilder
from events_core.settings import Settings, load_settings
from events_core.subscribers import make_subscriber

if TYPE_CHECKING:
    from events_core.bus import EventBus

H = TypeVar("H")

#: Every system that is alive; the worker finds those of its Celery app here.
systems: WeakSet[EventSystem] = WeakSet()
#: Called with each system that loads its handlers, after their modules are imported: `events_core.compat` binds here
#: what was registered before there was a system.
when_loaded: list[Callable[[EventSystem], None]] = []


class EventSystem:
    """The events of one application.

    name: names its queues, its keys in Redis and its Celery app. handlers: modules that bind handlers, imported
    before the first emit and by the worker. celery: an existing Celery app, of which no setting is changed; default
    is one made from the settings. container: makes the instances of handler classes, and what handler functions ask
    for by annotation. message_broker: carries integration events to other services, and theirs to this one. event_map:
    one that exists already. middleware: wraps each run of a handler in the worker, the first outermost; see
    `DeliveryMiddleware`. settings: see `Settings`; keyword arguments beat EVENTS_* variables.

    Raises ConfigurationError for a name or setting that cannot work. Constructing it touches no network, file or
    thread.
    """

    def __init__(
        self,
        name: str,
        *,
        handlers: Iterable[str] = (),
        celery: Celery | None = None,
        container: AnyContainer | None = None,
        message_broker: MessageBroker | None = None,
        event_map: EventMap | None = None,
        middleware: Iterable[Any] = (),
        **settings: Any,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ConfigurationError(f"the system's name {name!r} names queues and keys: use letters, digits, _ . -")
        if message_broker is not None and not isinstance(message_broker, MessageBroker):
            raise ConfigurationError(
                f"message_broker= takes a message broker, such as ExchangeBroker('amqp://...'), not a "
                f"{type(message_broker).__name__}"
            )
        check_container(container)
        self.name = name
        #: The module that made it, where the worker finds it again in a process of its own.
        self.module = real_module_name(sys._getframe(1).f_globals.get("__name__", "__main__"))
        self.settings: Settings = load_settings(name, **settings)
        self.container = container
        self.event_map = EventMap() if event_map is None else event_map
        self.middleware = tuple(middleware)
        self.owns_celery = celery is None
        self.messages = MessageBuilder(self.settings.default_queue)
        self.emitter = DeliveryEmitter(
            self.event_map,
            lambda: self._publisher or self.publisher,
            self.messages,
            timeout=self.settings.emit_timeout,
            max_event_bytes=self.settings.max_event_bytes,
            turns=lambda: self.turns,
            message_broker=message_broker,
            topic=name,
            container=container,
            max_hops=self.settings.max_hops,
        )
        self.message_broker = message_broker
        if message_broker is not None:
            message_broker.attach(name, self._broker_url)
        self._modules = (handlers,) if isinstance(handlers, str) else tuple(handlers)
        self._loaded = False
        self._celery = celery
        self._publisher: Publisher | None = None
        self._turns: Turns | None = None
        self._embedded: EmbeddedRedis | None = None
        self._new_lock()
        call_in_child(self._new_lock)
        systems.add(self)
        if celery is not None:
            tell_worker(celery)

    def _new_lock(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<EventSystem {self.name!r}>"

    def handler(
        self, event: type[Event] | str, *, task: Any = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[H], H]:
        """Decorator that binds a function or class to an event class or pattern; options as `EventMap.bind`.

        task: a Celery task that exists already, bound instead, and called with what `args` makes of the event.
        Of the options it takes `queue` and `args` only.
        """
        check_event(event)  # here, for a bare @events.handler gets the function, and would bind nothing in silence
        if task is not None:
            self.bind(event, task, **options)
            return lambda target: target

        def bind(target: H) -> H:
            self.bind(event, target, **options)
            return target

        return bind

    def bind(self, event: type[Event] | str, handler: Any, **options: Unpack[HandlerOptions]) -> HandlerSpec:
        """As `EventMap.bind`."""
        return self.event_map.bind(event, handler, **options)

    def subscriber(
        self,
        *,
        events: Iterable[type[IntegrationEvent]],
        topic: str | None = None,
        queue: str | None = None,
        task_queue: str | None = None,
        latest_only: bool = False,
        **options: Unpack[SubscriberOptions],
    ) -> Callable[[H], H]:
        """Decorator that subscribes a function or class to other services' events: each becomes a delivery to it.

        events: the integration event classes that it wants, whatever version is sent. topic: where they are heard;
        default: the topic of each class. queue: the queue on the message broker, default ``{system}.{topic}``; durable,
        filled also while no worker runs, and shared by all subscribers that name it. task_queue: the Celery queue of
        its deliveries, default the system's. latest_only: of each entity (see `ECSTEvent`) newer versions only, one
        after another; older ones are done without running it. options: those of `EventMap.bind`.

        Raises BindError for what cannot work; DuplicateBinding where it is subscribed already.
        """

        def subscribe(target: H) -> H:
            spec = inspect_handler(target, queue=task_queue, **options)
            found = make_subscriber(spec, events, topic=topic, queue=queue, system=self.name, latest_only=latest_only)
            if found.queue.removesuffix(GRANTED) in (self.settings.default_queue, task_queue):
                raise BindError(
                    f"{spec.name}: {found.queue!r} is a queue of deliveries: give the queue on the message broker "
                    "another name with queue="
                )
            self.event_map.subscribe(found)
            return target

        return subscribe

    def upcaster(self, event_type: str, *, from_version: int) -> Callable[[Upcast], Upcast]:
        """As `events_core.catalog.upcaster`: decorator of a function that makes older data that of the next version."""
        return upcaster(event_type, from_version=from_version)

    def bus(self) -> EventBus:
        """A bus that handles other services' events on an asyncio application's own loop.

        Raises BrokerNotConfigured where the system has no message broker.
        """
        from events_core.bus import EventBus

        if self.message_broker is None:
            raise BrokerNotConfigured(f"the bus of {self.name!r} needs EventSystem(..., message_broker=...)")
        return EventBus(
            self.message_broker,
            self.name,
            emit_timeout=self.settings.emit_timeout,
            max_event_bytes=self.settings.max_event_bytes,
            taken=lambda: {subscriber.queue for subscriber in self.event_map.subscribers},
        )

    def emit(self, event: Event, *, now: bool = False) -> Emission:
        """Emit one event; return when the broker has confirmed its deliveries.

        Inside a handler it is held back until the handler has succeeded, unless `now`.
        Raises EmitError within EMIT_TIMEOUT, which tells what is confirmed, uncertain and unsent;
        HandlersNotLoaded, NotAnEvent, EventTooLarge, BrokerNotConfigured before anything is sent.
        """
        return self.emit_many((event,), now=now)[0]

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `emit`, for many events in one batch, in order."""
        self.load()
        return self.emitter.emit_many(events, now=now)

    async def aemit(self, event: Event, *, now: bool = False) -> Emission:
        """As `emit`, without blocking the event loop.

        Cancelling it does not withdraw the event, once its in-transaction handlers have run.
        """
        return (await self.aemit_many((event,), now=now))[0]

    async def aemit_many(self, events: Iterable[Event], *, now: bool = False) -> list[Emission]:
        """As `emit_many`, without blocking the event loop."""
        self.load()
        return await self.emitter.aemit_many(events, now=now)

    def hold(self) -> Hold:
        """``with`` or ``async with``: what is emitted in the block goes out when it ends, in one batch.

        If the block raises, nothing goes out. Of nested blocks the outermost sends. It holds for `emit`, `emit_many`,
        `aemit` and `aemit_many` of this system in this context, with the tasks and threads that asyncio starts from it;
        ``now=True`` does not wait. In-transaction handlers run at once. Leaving it raises EmitError as `emit` does::

            with events.hold():
                order.place()
                events.emit(OrderPlaced(...))
                session.commit()
        """
        return Hold(self.emitter)

    @property
    def deliver_later(self) -> DeliverLater | None:
        """A hook for what knows the caller's transaction, as `events_core.contrib.django` does; None: there is none.

        It is called with a `Sending`, outside of handlers and `hold`, and without ``now=True``. True: it has taken
        that, and calls it after the commit. False: emit sends at once. With None it only tells which it would do.
        """
        return self.emitter.deliver_later

    @deliver_later.setter
    def deliver_later(self, hook: DeliverLater | None) -> None:
        self.emitter.deliver_later = hook

    def emit_group(
        self, events: Iterable[Event], *, max_parallel: int, on_complete: OnComplete = None, name: str = ""
    ) -> Group:
        """Emit events of which at most `max_parallel` deliveries run at once, in all workers together.

        They begin in the order in which they are emitted; with ``max_parallel=1`` each begins when the one before has
        settled. events: may be a generator of any length; it is entered in parts of 500 deliveries, which begin to run
        meanwhile. on_complete: a subclass of GroupCompleted, or an instance of one, emitted when all are done, dead or
        cancelled; at least once, under one id. name: for people.

        Inside a handler the group is emitted at once, and not held back until the handler has succeeded. A repeated
        run of the handler that emits the same events goes on with the same group.

        Raises ValueError, NotAnEvent or EventDefinitionError for arguments that cannot work; and as `emit`, what an
        event cannot be emitted for, and BindError for an event that a Celery task is bound to. What was entered before
        the error, or before the death of the process, runs; the group is abandoned and has no completion event. A note
        on the error names it.
        """
        self.load()
        return GroupEmitter(self.emitter).emit_group(
            events, max_parallel=max_parallel, on_complete=on_complete, name=name
        )

    async def aemit_group(
        self, events: Iterable[Event], *, max_parallel: int, on_complete: OnComplete = None, name: str = ""
    ) -> Group:
        """As `emit_group`, without blocking the event loop: a generator runs in another thread.

        Cancelling it does not withdraw the events, and the rest of them follows.
        """
        self.load()
        return await GroupEmitter(self.emitter).aemit_group(
            events, max_parallel=max_parallel, on_complete=on_complete, name=name
        )

    def group(self, group_id: str) -> Group:
        """The group of that id, whatever process has emitted it. Raises TypeError for what is no id."""
        if not isinstance(group_id, str):
            raise TypeError(f"group_id={group_id!r:.80} must be the id of a group, a str: group.id")
        return Group(group_id, lambda: self.turns)

    def load(self) -> None:
        """Import the modules named in `handlers`, once. Raises HandlersNotLoaded, again each time it is called."""
        if self._loaded:
            return
        # No lock of ours: a thread that imports one of them itself, and emits while it does, would wait for us while
        # we wait for it. Python imports each module once, whoever asks, and finds such circles.
        main = real_module_name("__main__") if "__main__" in sys.modules else ""
        for module in self._modules:
            if module == main:
                continue  # the script that runs is that module; a second copy would define everything twice
            try:
                importlib.import_module(module)
            except Exception as error:
                raise HandlersNotLoaded(
                    f"handlers={list(self._modules)!r} of {self.name!r}: {module!r} cannot be imported "
                    f"({type(error).__name__}: {error})"
                ) from error
        for bind in when_loaded:
            bind(self)
        self._loaded = True

    @property
    def celery(self) -> Celery:
        """The Celery app. Made from the settings on first use; connects to nothing.

        Raises ConfigurationError when no broker is set.
        """
        if self._celery is not None:
            return self._celery
        with self._lock:
            if self._celery is None:
                celery = make_celery_app(self.name, self.settings)
                tell_worker(celery)
                self._celery = celery
            return self._celery

    def check_broker(self) -> None:
        """Raise ConfigurationError when something has put another broker into the Celery app that we made.

        Celery's command line takes BROKER_URL, and its configuration CELERY_BROKER_URL, over everything: emitters and
        workers would talk to different brokers.
        """
        if self.owns_celery and self.celery.conf.broker_url != celery_broker_url(self.settings):
            raise ConfigurationError(
                f"the environment sets Celery's broker (BROKER_URL or CELERY_BROKER_URL) to another one than "
                f"EVENTS_BROKER_URL of {self.name!r}: unset it, or make both the same"
            )

    def _broker_url(self) -> str:
        """Celery's broker, for a message broker that has no address of its own."""
        self.check_broker()
        self.open_embedded()
        return str(self.celery.connection_for_write().as_uri(include_password=True))

    def belongs_to(self, app: Celery) -> bool:
        """Whether `app` is this system's Celery app."""
        return self._celery is app

    def queues(self) -> set[str]:
        """The queues that this system's deliveries go to, those of existing Celery tasks excepted."""
        own = {self.messages.queue_of(spec) for spec in self.event_map.handlers if spec.kind != "task"}
        return own | {self.settings.default_queue}

    @property
    def publisher(self) -> Publisher:
        """The publisher to the broker. Made on first use."""
        with self._lock:
            if self._publisher is None:
                celery = self.celery
                self.check_broker()
                self.open_embedded()
                self._publisher = publisher_for(celery, quorum_queues=self.settings.quorum_queues)
            return self._publisher

    @property
    def turns(self) -> Turns:
        """Where deliveries wait for their turn: those of ordered handlers and of groups. Made on first use."""
        with self._lock:
            if self._turns is None:
                # to connect, to hear the answer, to publish what is granted: EMIT_TIMEOUT for all of it
                part = self.settings.emit_timeout / 3
                self._turns = Turns(lambda: connect(self, part), self.emitter.hand_over, part)
            return self._turns

    def open_embedded(self) -> EmbeddedRedis | None:
        """Start or join the embedded Redis, where that is the broker; None where it is not."""
        with self._lock:
            if self._embedded is None and self.owns_celery and self.settings.embedded:
                self._embedded = open_embedded(self.settings.data_dir)
            return self._embedded

    def close(self) -> None:
        """Close the connections and leave the embedded Redis. The system can be used again."""
        self.emitter.close()
        with self._lock:
            publisher, self._publisher = self._publisher, None
            turns, self._turns = self._turns, None
            embedded, self._embedded = self._embedded, None
        if publisher is not None:
            publisher.close()
        if turns is not None:
            turns.close()
        if self.message_broker is not None:
            self.message_broker.close()
        if embedded is not None:
            embedded.close()
