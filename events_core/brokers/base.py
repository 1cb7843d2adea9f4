"""MessageBroker: what carries integration events to other services, and what it promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from events_core.envelope import Envelope
from events_core.errors import ConfigurationError
from events_core.events import IntegrationEvent
from events_core.publishing.messages import Delivery


@dataclass(frozen=True, slots=True)
class Promises:
    """What a message broker does for an event that it has taken. The contract suite checks each of them.

    delivery: ``at least once``: every queue that is bound keeps the event until a consumer has acknowledged it;
    ``at most once``: who listens at that moment hears it. durable: what is kept survives a restart of the server.
    ordered: one consumer of a queue hears the events of one producer in the order in which they were published.
    shared: consumers of one queue share its events. routed: a queue gets the event types that it asked for and no
    others. tells_unroutable: it tells of an event that nobody is bound to.
    """

    delivery: Literal["at least once", "at most once"]
    durable: bool
    ordered: bool
    shared: bool
    routed: bool
    tells_unroutable: bool


#: Bytes of a name in AMQP (0-9-1, 4.2.5.3: a short string).
LONGEST_NAME = 255


def require_short(name: str, what: str) -> None:
    """Raise ConfigurationError for a name that AMQP cannot carry."""
    if len(name) > LONGEST_NAME or (not name.isascii() and len(name.encode("utf-8", "replace")) > LONGEST_NAME):
        raise ConfigurationError(f"{name!r:.80}... is too long: {what} may have {LONGEST_NAME} bytes")


@dataclass(slots=True)
class IntegrationMessage:
    """One integration event on its way to a message broker: encoded once, in the broker's format.

    delivery: how EmitError names it: no handler, the event's id, its topic. headers: further ones, for brokers whose
    messages have headers; the others leave them out.
    """

    delivery: Delivery
    envelope: Envelope
    body: bytes = field(repr=False)
    content_type: str
    occurred_at: datetime
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """The exchange, or what the broker has in its place."""
        return self.delivery.queue

    @property
    def routing_key(self) -> str:
        """``{message_type}.{event_type}``, by which consumers' queues are bound."""
        return f"{self.envelope.kind}.{self.envelope.type}"


@dataclass(slots=True)
class Received:
    """One message as it came from a broker; nothing in it is checked. `tag` is the receiver's own."""

    body: bytes = field(repr=False)
    content_type: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str = ""
    type: str = ""
    topic: str = ""
    routing_key: str = ""
    timestamp: float | None = None
    redelivered: bool = False
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A named queue of a service, and the (topic, routing key) pairs that it is bound by.

    lasting: durable, and kept while no consumer is there. One that is not is its consumer's own, and goes with it.
    Routing keys are those of AMQP topic exchanges: ``*`` is one word, ``#`` any number of them.
    Raises ConfigurationError for names of more than 255 bytes, which AMQP cannot carry.
    """

    queue: str
    bindings: frozenset[tuple[str, str]]
    lasting: bool = True

    def __post_init__(self) -> None:
        for name in (self.queue, *(part for binding in self.bindings for part in binding)):
            require_short(name, "a queue, a topic and a routing key")


class Receiver(Protocol):
    """The receiving end of one subscription. Used by one thread; connects on first use.

    Raises OSError (ConnectionError, TimeoutError) when the connection is lost: what was not acknowledged comes again,
    and the next call connects anew.
    """

    def receive(self, timeout: float) -> list[Received]:
        """The messages that are there, in order; waits at most `timeout` seconds for the first. At most `prefetch`
        are unacknowledged at any time.
        """
        ...

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """They are safe elsewhere: the broker may forget them."""
        ...

    def give_back(self, messages: Sequence[Received]) -> None:
        """They were not handled: another consumer, or this one later, gets them, at their old place where possible."""
        ...

    def wake(self) -> None:
        """From another thread: let `receive` return at once."""
        ...

    def close(self) -> None:
        """Give back what is unacknowledged and close the connection; never raises."""
        ...


class Format(Protocol):
    """How an integration event is written. Implementations: `events_core.brokers.formats`."""

    name: str
    content_type: str

    def encode(self, event: IntegrationEvent, envelope: Envelope, source: str) -> bytes:
        """The message's body. source: ``/{system name}``."""
        ...

    def decode(self, received: Received) -> Envelope:
        """The envelope in a message from anyone. Its version is 0 where the format does not tell one.

        Raises InvalidEnvelope, which names what is wrong, not the values.
        """
        ...


FormatName = Literal["cloudevents", "classic", "flat", "record"]


class MessageBroker(ABC):
    """Carries integration events. Thread-safe and fork-safe; connects on first use.

    format: one of the names above, or a `Format` of your own.
    """

    #: What it promises. An instance may promise otherwise than its class, by the server that it uses.
    promises: Promises
    #: Whether it is the receiver that is bound, and not its queue: a changed subscription needs a new receiver.
    binds_receivers = False

    def __init__(self, format: FormatName | Format) -> None:
        from events_core.brokers.formats import format_named

        self.format: Format = format_named(format) if isinstance(format, str) else format
        self.source = "/"

    def attach(self, system: str, default_url: Callable[[], str]) -> None:
        """Called by the EventSystem that it is given to. default_url: the system's own broker, for those without.

        Raises ConfigurationError where it belongs to another one already: what that emits would be called this one's.
        """
        source = f"/{system}"
        if self.source not in ("/", source):
            raise ConfigurationError(
                f"this {type(self).__name__} carries the events of {self.source[1:]!r} already: give {system!r} one of "
                "its own"
            )
        self.source = source

    def server(self) -> str:
        """The URL of its server, without user and password, for people; empty where there is none."""
        return ""

    def address(self, topic: str, message_type: str) -> str:
        """Where on the server events go, for people: an exchange, a stream, a channel; in braces what varies."""
        return topic

    def message(self, event: IntegrationEvent, envelope: Envelope, topic: str) -> IntegrationMessage:
        """The event, encoded. Raises ConfigurationError for a topic of more than 255 bytes."""
        require_short(topic, "a topic")  # here, not in `publish`, whose batch is that of others too
        return IntegrationMessage(
            Delivery("", envelope.id, topic),
            envelope,
            self.format.encode(event, envelope, self.source),
            self.format.content_type,
            event.occurred_at,
        )

    def start(self) -> None:  # noqa: B027  (nobody has to connect early)
        """Connect, so that what is wrong is told now. Optional: the first publish connects too.

        Raises OSError when the broker cannot be reached, ConfigurationError when it refuses us.
        """

    @abstractmethod
    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """Publish at most 1,000 messages, in order; return when the broker has confirmed every one.

        timeout: seconds for everything. Raises EmitError, which tells what is confirmed, uncertain and unsent;
        nothing is sent after it.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections. It can be used again."""

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Make the queue and its bindings exist, also while no consumer is there. Repeating it changes nothing.

        obsolete: bindings that it may have had and has no more. A broker that can list the bindings of a queue
        removes those that are not asked for in any case.
        Raises OSError when the broker cannot be reached, ConfigurationError when the queue cannot be had.
        """
        raise NotImplementedError(f"{type(self).__name__} only publishes")

    def delete(self, subscription: Subscription) -> None:
        """Delete the queue with all that waits in it."""
        raise NotImplementedError(f"{type(self).__name__} only publishes")

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Receiver:
        """The receiving end of a declared subscription. prefetch: messages unacknowledged at any time."""
        raise NotImplementedError(f"{type(self).__name__} only publishes")
