"""Plan: what one queue hears, and which consumer gets it. A plain value: a change makes another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from events_core.brokers import Subscription
from events_core.bus.consumers import Consumer
from events_core.bus.topology import IntegrationEventBusRegistration
from events_core.catalog import event_types
from events_core.errors import ConfigurationError
from events_core.events import IntegrationEvent

Wanted = Mapping[str, Sequence[type[IntegrationEvent]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The registrations of one queue, the newest of a topic first.

    known: every binding that this process has given the queue.
    """

    queue: str
    lasting: bool
    registrations: tuple[IntegrationEventBusRegistration, ...] = ()
    known: frozenset[tuple[str, str]] = frozenset()
    _wanted: dict[str, Wanted] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        everything: dict[str, list[type[IntegrationEvent]]] = {}
        for registration in self.registrations:
            of_topic: dict[str, list[type[IntegrationEvent]]] = self._wanted.setdefault(registration.topic.name, {})  # type: ignore[assignment]
            for event in registration.events:
                for classes in (of_topic, everything):
                    if event not in classes.setdefault(event.event_type, []):
                        classes[event.event_type].append(event)
        self._wanted[""] = everything

    def wanted(self, topic: str) -> Wanted:
        """The event classes that are asked for, by type. Of all topics where the broker does not tell which it was."""
        return self._wanted.get(topic) or self._wanted[""]

    def consumers(self, topic: str, event: IntegrationEvent) -> list[Consumer]:
        """Who gets the event: the consumer of its topic."""
        by_topic: dict[str, Consumer] = {}
        for registration in self.registrations:
            if type(event) in registration.events:
                by_topic.setdefault(registration.topic.name, registration.consumer)
        if topic in by_topic:
            return [by_topic[topic]]
        return list(dict.fromkeys(by_topic.values()))

    @property
    def subscription(self) -> Subscription:
        """The queue with its bindings."""
        bindings = {
            (registration.topic.name, routing_key(event))
            for registration in self.registrations
            for event in registration.events
        }
        return Subscription(self.queue, frozenset(bindings), self.lasting)

    @property
    def obsolete(self) -> frozenset[tuple[str, str]]:
        """Bindings that the queue may have from earlier: those of this process, and on a lasting queue what an earlier
        version of the application may have asked for, as far as its events are still defined.
        """
        if not self.lasting:
            return self.known - self.subscription.bindings
        topics = {registration.topic.name for registration in self.registrations}
        loaded = {
            (topic, routing_key(event))
            for event in event_types()
            if issubclass(event, IntegrationEvent)
            for topic in topics
            if event.topic in (None, topic)
        }
        return frozenset((loaded | self.known) - self.subscription.bindings)

    def between(self, new: Plan) -> Plan:
        """While one becomes the other: all that either wants, so that nothing is skipped that is bound already."""
        return Plan(self.queue, self.lasting, new.registrations + self.registrations, self.known)

    def with_registration(self, registration: IntegrationEventBusRegistration) -> Plan:
        """As this one, but with that registration, in place of what its consumer had of the topic."""
        return self._with((registration, *self._others(registration)))

    def without_registration(self, registration: IntegrationEventBusRegistration) -> Plan:
        """As this one, but with nothing of that registration's topic."""
        return self._with(self._others(registration))

    def _others(self, registration: IntegrationEventBusRegistration) -> tuple[IntegrationEventBusRegistration, ...]:
        return tuple(other for other in self.registrations if other.topic != registration.topic)

    def _with(self, registrations: tuple[IntegrationEventBusRegistration, ...]) -> Plan:
        return Plan(self.queue, self.lasting, registrations, self.known | self.subscription.bindings)


def check_options(plan: Plan, consumer: Consumer) -> None:
    """Raise ConfigurationError where another consumer of that name wants its queue otherwise."""
    for other in (registration.consumer for registration in plan.registrations):
        if _options(other) != _options(consumer):
            raise ConfigurationError(
                f"two consumers named {consumer.name!r} share the queue {plan.queue!r}, but differ in "
                "every_instance, concurrency, prefetch or retry: give them the same, or one of them another name"
            )


def _options(consumer: Consumer) -> tuple[object, ...]:
    return (consumer.every_instance, consumer.concurrency, consumer.prefetch, consumer.retry)


def routing_key(event: type[IntegrationEvent]) -> str:
    """By which a queue is bound to an event class, in all its versions."""
    return f"{event.event_kind}.{event.event_type}"
