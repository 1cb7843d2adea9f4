"""EventBus: our integration event bus, on any message broker, in an asyncio application."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from typing import cast
from uuid import uuid4

from events_core.brokers import IntegrationMessage, MessageBroker
from events_core.bus.base import IntegrationEventBus
from events_core.bus.consumers import Consumer
from events_core.bus.listener import Listener
from events_core.bus.plan import Plan, check_options
from events_core.bus.statistics import Statistics
from events_core.bus.topology import IntegrationEventBusRegistration, Topic
from events_core.envelope import Envelope
from events_core.errors import BindError, ConfigurationError, EventTooLarge, NotAnEvent
from events_core.event_map import refuse_dataclass
from events_core.events import IntegrationEvent
from events_core.publishing.batcher import Batcher
from events_core.publishing.messages import Carried

#: Characters: AMQP has 255 bytes, and there are `.dead` and the names of instances.
_LONGEST_QUEUE = 200


class EventBus(IntegrationEventBus):
    """Sends integration events, and runs consumers' handlers on the event loop that it was started on.

    An event is acknowledged after its handlers have run: it comes again if this process dies before, so a handler may
    see it twice, and none is lost while its queue is durable. A failing handler is tried again as the `retry` of its
    consumer says; after that the message goes as it came to the queue ``{queue}.dead``, and so does one that cannot be
    decoded. An instance's own queue has no such queue: there it is logged. While the broker is away the bus tries to
    connect again, at growing intervals.

    service: names the queues, ``{service}.{consumer}``. emit_timeout: seconds for `send`. max_event_bytes: of one
    message. shutdown_timeout: seconds that running handlers have to end.

    taken: the queues that others of this service consume.

    Raises ConfigurationError for a service name that cannot name a queue, and for what is no message broker or no
    number.
    """

    def __init__(
        self,
        message_broker: MessageBroker,
        service: str,
        *,
        emit_timeout: float = 2.0,
        max_event_bytes: int = 262_144,
        shutdown_timeout: float = 10.0,
        taken: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        if not isinstance(message_broker, MessageBroker):
            raise ConfigurationError(
                f"EventBus takes a message broker, such as ExchangeBroker(url), not a {type(message_broker).__name__}"
            )
        if not isinstance(service, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", service):
            raise ConfigurationError(f"the service's name {service!r} names queues: use letters, digits, _ . -")
        _check_number("emit_timeout", emit_timeout)
        _check_number("max_event_bytes", max_event_bytes)
        _check_number("shutdown_timeout", shutdown_timeout, least=0)
        self.service = service
        self._broker = message_broker
        self._emit_timeout = emit_timeout
        self._max_event_bytes = max_event_bytes
        self._shutdown_timeout = shutdown_timeout
        self._taken = taken
        self._instance = ""
        self._plans: dict[str, Plan] = {}
        self._listeners: dict[str, Listener] = {}
        self._statistics: dict[str, Statistics] = {}
        self._started = False
        self._changing = asyncio.Lock()
        self._batcher: Batcher | None = None
        if message_broker.source == "/":  # it belongs to no EventSystem
            message_broker.attach(service, self._no_url)

    def __repr__(self) -> str:
        return f"<EventBus of {self.service!r} on {type(self._broker).__name__}>"

    @property
    def statistics(self) -> dict[str, Statistics]:
        """What has become of the events of each queue, by its name; for health checks and metrics."""
        return dict(self._statistics)

    async def register(self, registration: IntegrationEventBusRegistration) -> None:
        """From now on the consumer gets these events of that topic, and of what it got of it before no others.

        Before startup nothing is connected. After it the queue and its bindings exist when this returns.
        The same name is the same queue: consumers of one name must have the same options.

        Raises ConfigurationError where they have not, where a subscriber has that queue, where the broker cannot keep
        what a shared queue promises, or for a name that is too long; BindError for an event that an upcaster makes
        another version of than is registered; OSError when the broker cannot be reached. Then nothing has changed.
        """
        _check_registration(registration)
        registration.check_versions()
        consumer = registration.consumer
        self._check_broker(consumer)
        name = self._queue_of(consumer)
        if name in self._taken():
            raise ConfigurationError(
                f"the queue {name!r} is that of a subscriber of {self.service!r}: its workers and this bus would each "
                "take a part of the events. Give the consumer another name"
            )
        async with self._changing:
            old = self._plans.get(name, Plan(name, lasting=not consumer.every_instance))
            check_options(old, consumer)
            new = old.with_registration(registration)
            listener = self._listeners.get(name)
            if listener is not None:
                await listener.change(new)
            elif self._started:
                await self._listen(new)
            self._plans[name] = new

    async def unregister(self, registration: IntegrationEventBusRegistration) -> None:
        """The service's consumer of that name wants no more events of that topic, in no instance: it is unbound.

        A durable queue stays with what waits in it, for you to delete on the broker; a consumer group of
        RedisStreamBroker goes. To pause, shut down instead.
        Not registered: nothing happens. Raises OSError when the broker cannot be reached; then nothing has changed.
        """
        _check_registration(registration)
        name = self._queue_of(registration.consumer)
        async with self._changing:
            old = self._plans.get(name)
            if old is None:
                return
            new = old.without_registration(registration)
            listener = self._listeners.get(name)
            if listener is not None:
                await listener.change(new)
            if new.registrations:
                self._plans[name] = new
                return
            del self._plans[name]
            if listener is not None:
                del self._listeners[name]
                await listener.stop(self._shutdown_timeout)
                if new.lasting:  # an own queue is gone with its receiver
                    await listener.change(new)  # a receiver may have made anew what was missing under it

    async def startup(self) -> None:
        """Connect, declare every queue, and begin to receive. Started already: nothing happens.

        Raises OSError when the broker cannot be reached, ConfigurationError when it refuses; then nothing runs.
        """
        async with self._changing:
            if self._started:
                return
            try:
                await asyncio.to_thread(self._broker.start)
                for plan in self._plans.values():
                    await self._listen(plan)
            except BaseException:
                await self._stop()
                raise
            self._started = True

    async def shutdown(self) -> None:
        """Stop receiving, wait for the handlers that run, acknowledge what they have done, and give back the rest.

        Handlers that run longer than `shutdown_timeout` are cancelled, and their events come again, here or elsewhere.
        The bus can be started again. Not started: only what `send` uses is closed.
        """
        async with self._changing:
            self._started = False  # also where this is cancelled: what was told to stop is not started
            await self._stop()

    async def send(self, topic: Topic, event: IntegrationEvent) -> None:
        """Publish an event to a topic, whatever its class says; return when the broker has confirmed it.

        Cancelling it does not withdraw the event. Raises EmitError after `emit_timeout` at most, NotAnEvent,
        EventTooLarge, BindError for what is no Topic.
        """
        if not isinstance(topic, Topic):
            raise BindError(f"send() takes a topic and an event: write Topic({topic!r:.80})")
        if not isinstance(event, IntegrationEvent):
            raise NotAnEvent(f"a {type(event).__name__} is no integration event: only those leave the application")
        refuse_dataclass(type(event))
        message = self._broker.message(event, Envelope.of(event), topic.name)
        if len(message.body) > self._max_event_bytes:
            raise EventTooLarge(
                f"{event.event_type} {event.event_id} has {len(message.body):,} bytes, more than max_event_bytes "
                f"({self._max_event_bytes:,}): send a reference to the data"
            )
        if self._batcher is None:
            self._batcher = Batcher(self._publish)
        await self._batcher.publish([message], self._emit_timeout)

    def _publish(self, messages: Sequence[Carried], timeout: float) -> None:
        self._broker.publish(cast("Sequence[IntegrationMessage]", messages), timeout)

    async def _listen(self, plan: Plan) -> None:
        statistics = self._statistics.setdefault(plan.queue, Statistics())
        consumer = plan.registrations[0].consumer
        listener = Listener(self._broker, plan, consumer, self._max_event_bytes, statistics)
        await listener.start()
        self._listeners[plan.queue] = listener

    async def _stop(self) -> None:
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():  # each of them, also where this is cancelled
            listener.end()
        await asyncio.gather(*(listener.stop(self._shutdown_timeout) for listener in listeners.values()))
        if self._batcher is not None:
            await asyncio.to_thread(self._batcher.close, self._emit_timeout)
        await asyncio.to_thread(self._broker.close)

    def _queue_of(self, consumer: Consumer) -> str:
        shared = f"{self.service}.{consumer.name}"
        if len(shared) > _LONGEST_QUEUE:
            raise ConfigurationError(f"the queue {shared!r} has a name of more than {_LONGEST_QUEUE} characters")
        if not consumer.every_instance:
            return shared
        # Not when it is constructed: the forks of one process are instances of their own.
        self._instance = self._instance or uuid4().hex[:12]
        return f"{shared}.{self._instance}"

    def _check_broker(self, consumer: Consumer) -> None:
        if not consumer.every_instance and self._broker.promises.delivery == "at most once":
            raise ConfigurationError(
                f"consumer {consumer.name!r} wants a durable queue, and {type(self._broker).__name__} keeps nothing "
                "for those who are away: pass every_instance=True, or take another broker"
            )

    def _no_url(self) -> str:
        raise ConfigurationError(f"the message broker of {self!r} has no URL: give it one")


def _check_registration(registration: object) -> None:
    if not isinstance(registration, IntegrationEventBusRegistration):
        raise BindError(
            f"this takes one IntegrationEventBusRegistration(consumer, topic, events), not {registration!r:.80}"
        )


def _check_number(name: str, value: object, least: float = 0.001) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise ConfigurationError(f"EventBus({name}={value!r:.80}): must be a number from {least:g} on")
