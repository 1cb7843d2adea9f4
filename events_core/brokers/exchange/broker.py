"""ExchangeBroker: integration events through topic exchanges, on RabbitMQ, Redis or whatever kombu knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol
from urllib.parse import urlsplit

import kombu

from events_core.brokers.base import (
    Format,
    FormatName,
    IntegrationMessage,
    MessageBroker,
    Promises,
    Receiver,
    Subscription,
)
from events_core.brokers.dead import REASON, ROUTING_KEY, TOPIC
from events_core.brokers.exchange import address
from events_core.brokers.unheard import Unheard
from events_core.errors import ConfigurationError, EmitError, Unroutable
from events_core.publishing.base import Deadline
from events_core.publishing.messages import Delivery
from events_core.transport import schemes
from events_core.transport.streams import SentinelTransport
from events_core.transport.streams import Transport as StreamsTransport

Policy = Literal["warn", "raise", "dead_letter"]
_CHOICES = ("warn", "raise", "dead_letter")


class Exchange(Protocol):
    """Topic exchanges on one kind of server. Methods without a word here: as those of `MessageBroker`."""

    def start(self) -> None: ...

    def publish(
        self, messages: Sequence[IntegrationMessage], deadline: Deadline, queue: str | None = None
    ) -> list[IntegrationMessage]:
        """Publish to the topics of the messages, or all to one queue, which is made if it is not there.

        Returns the messages that no queue was bound to. Raises EmitError.
        """
        ...

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]]) -> None: ...

    def delete(self, subscription: Subscription) -> None: ...

    def receiver(self, subscription: Subscription, prefetch: int) -> Receiver: ...

    def close(self) -> None: ...


class ExchangeBroker(MessageBroker):
    """A durable topic exchange for each topic, the routing key ``{message_type}.{event_type}``, durable queues.

    url: ``amqp://`` (RabbitMQ), ``redis://`` (Redis Streams, under kombu's names), another URL of kombu's, or a kombu
    connection; None is the system's own broker. With kombu's other transports messages go one by one, and what is
    promised is what the transport keeps.
    unroutable: what becomes of an event that no queue is bound to: ``warn`` says so in the log, once a minute for each
    routing key, and counts it in `unroutable_count`; ``raise`` makes emit fail with `Unroutable`; ``dead_letter`` keeps
    it in the durable queue ``{topic}.unroutable``.
    alternate_exchange: RabbitMQ's own way, an exchange that gets what no queue is bound to; you declare it.
    quorum_queues: declare lasting queues as RabbitMQ's quorum queues.

    Raises ConfigurationError for what cannot work together. It touches no network.
    """

    promises = Promises("at least once", durable=True, ordered=True, shared=True, routed=True, tells_unroutable=True)

    def __init__(
        self,
        url: str | kombu.Connection | None = None,
        *,
        format: FormatName | Format = "cloudevents",
        unroutable: Policy = "warn",
        alternate_exchange: str | None = None,
        quorum_queues: bool = False,
    ) -> None:
        super().__init__(format)
        if unroutable not in _CHOICES:
            raise ConfigurationError(f"unroutable={unroutable!r} is none of {', '.join(map(repr, _CHOICES))}")
        if url is not None:
            address.check(url)
        #: Events that were published and that no queue was bound to.
        self.unroutable_count = 0
        self._given = url
        self._default_url: Callable[[], str] | None = None
        self._policy = unroutable
        self._alternate_exchange = alternate_exchange
        self._quorum_queues = quorum_queues
        self._unheard = Unheard("it is dropped" if unroutable == "warn" else "it is kept in the queue TOPIC.unroutable")
        if url is not None and not address.is_known(url):
            self.promises = replace(self.promises, delivery="at most once", durable=False, ordered=False)

    def attach(self, system: str, default_url: Callable[[], str]) -> None:
        """See `MessageBroker.attach`."""
        super().attach(system, default_url)
        self._default_url = default_url
        if self._given is not None:
            self._exchange  # noqa: B018  (what cannot work is told here, and not when events are half published)

    def start(self) -> None:
        """See `MessageBroker.start`."""
        self._exchange.start()

    def server(self) -> str:
        """See `MessageBroker.server`."""
        parts = urlsplit(schemes.plain(self._connection().as_uri()))
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """See `MessageBroker.publish`."""
        deadline = Deadline(timeout)
        unroutable = self._exchange.publish(messages, deadline)
        if unroutable:
            self._settle(unroutable, messages, deadline)

    def publish_to(self, queue: str, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """Publish to a queue, past its topics. It is durable, and made if it is not there. Raises EmitError."""
        self._publish_to(queue, messages, Deadline(timeout))

    def close(self) -> None:
        """See `MessageBroker.close`."""
        exchange = self.__dict__.pop("_made", None)
        if exchange is not None:
            exchange.close()

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """See `MessageBroker.declare`."""
        self._exchange.declare(subscription, obsolete)

    def delete(self, subscription: Subscription) -> None:
        """See `MessageBroker.delete`."""
        self._exchange.delete(subscription)

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> Receiver:
        """See `MessageBroker.receiver`."""
        return self._exchange.receiver(subscription, prefetch)

    def _settle(
        self, unroutable: list[IntegrationMessage], messages: Sequence[IntegrationMessage], deadline: Deadline
    ) -> None:
        """What the policy asks for. Everything but the unroutable ones is confirmed."""
        self.unroutable_count += len(unroutable)
        lost = {id(message) for message in unroutable}
        confirmed = [message.delivery for message in messages if id(message) not in lost]
        if self._policy == "raise":
            first = unroutable[0]
            raise Unroutable(
                f"no queue is bound to {first.routing_key} of topic {first.topic}: declare a subscriber first, or give "
                "ExchangeBroker another unroutable=",
                confirmed=confirmed,
                unsent=[message.delivery for message in unroutable],
            )
        self._unheard.unheard((message.topic, message.routing_key) for message in unroutable)
        if self._policy == "dead_letter":
            self._keep(unroutable, confirmed, deadline)

    def _keep(self, unroutable: list[IntegrationMessage], confirmed: list[Delivery], deadline: Deadline) -> None:
        by_topic: dict[str, list[IntegrationMessage]] = {}
        for message in unroutable:
            why = {REASON: "unroutable", TOPIC: message.topic, ROUTING_KEY: message.routing_key}
            marked = replace(message, headers={**message.headers, **why})
            by_topic.setdefault(message.topic, []).append(marked)
        for topic, kept in by_topic.items():
            try:
                self._publish_to(f"{topic}.unroutable", kept, deadline)
            except EmitError as error:
                known = {*confirmed, *error.confirmed, *error.uncertain}
                raise EmitError(
                    error.reason,
                    confirmed=[*confirmed, *error.confirmed],
                    uncertain=error.uncertain,
                    unsent=[message.delivery for message in unroutable if message.delivery not in known],
                ) from error
            confirmed = [*confirmed, *(message.delivery for message in kept)]

    def _publish_to(self, queue: str, messages: Sequence[IntegrationMessage], deadline: Deadline) -> None:
        lost = self._exchange.publish(messages, deadline, queue)
        if lost:
            gone = {id(message) for message in lost}
            raise EmitError(
                f"the queue {queue} is deleted again and again",
                confirmed=[message.delivery for message in messages if id(message) not in gone],
                unsent=[message.delivery for message in lost],
            )

    @property
    def _exchange(self) -> Exchange:
        made: Exchange | None = self.__dict__.get("_made")
        # One step, without a lock that a fork could leave locked: of two threads, one's comes to nothing.
        return made or self.__dict__.setdefault("_made", self._make())

    def _make(self) -> Exchange:
        connection = self._connection()
        if len(connection.alt) > 1:
            raise ConfigurationError(
                "ExchangeBroker was given several addresses, of which it would only try the first: give one, such as "
                "that of a load balancer before the brokers"
            )
        try:
            transport = connection.transport
        except ImportError as error:
            raise ConfigurationError(f"ExchangeBroker: kombu needs one more package for this URL: {error}") from error
        if transport.driver_type == "amqp":
            from events_core.brokers.exchange.amqp import AMQPExchange
            from events_core.brokers.exchange.amqp_topology import Topology

            return AMQPExchange(connection, Topology(self._alternate_exchange, self._quorum_queues))
        if self._alternate_exchange:
            raise ConfigurationError("alternate_exchange= is RabbitMQ's: leave it out, and choose with unroutable=")
        if isinstance(transport, StreamsTransport) and not isinstance(transport, SentinelTransport):
            from events_core.brokers.exchange.redis import RedisExchange

            return RedisExchange(connection)
        from events_core.brokers.exchange.kombu import KombuExchange

        return KombuExchange(connection)

    def _connection(self) -> kombu.Connection:
        if self._given is not None:
            return address.connection_to(self._given)
        if self._default_url is None:
            raise ConfigurationError(
                "ExchangeBroker() without a URL uses the broker of the EventSystem that it is given to: give it to one "
                "(message_broker=), or give it a URL"
            )
        return address.connection_to(self._default_url())
