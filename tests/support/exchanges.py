"""Topic exchanges: connections, events, and short ways to publish and to take."""

from __future__ import annotations

import json
from collections.abc import Sequence

import kombu

from events_core import ECSTEvent, NotificationEvent
from events_core.brokers import ExchangeBroker, IntegrationMessage, MessageBroker, Received, Receiver
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent
from events_core.transport.schemes import with_streams
from tests.support.waiting import wait_until

CLAIM_AFTER = 1.0
"""Seconds after which Redis gives a dead process's messages to others."""


def connection_to(url: str) -> kombu.Connection:
    """A connection as somebody with kombu alone (and, on Redis, our transport) has it."""
    options = {"claim_after": CLAIM_AFTER} if url.startswith("redis") else {}
    return kombu.Connection(with_streams(url), transport_options=options)


class InMemory:
    """kombu's transport without a server, and how a stranger publishes there."""

    def __init__(self) -> None:
        self._broker = ExchangeBroker("memory://localhost")

    def broker(self) -> ExchangeBroker:
        return self._broker

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        with connection_to("memory://localhost") as connection:
            connection.Producer().publish(
                body,
                exchange=kombu.Exchange(topic, "topic", durable=True),
                routing_key=routing_key,
                declare=[kombu.Exchange(topic, "topic", durable=True)],
                content_type="application/octet-stream",
                content_encoding="binary",
            )


class Placed(NotificationEvent, event_type="exchange.order.placed"):
    """Published by the tests of exchanges."""

    number: int = 0
    text: str = ""


class Paid(NotificationEvent, event_type="exchange.order.paid"):
    """Another one."""

    number: int = 0


class Customer(ECSTEvent, event_type="exchange.customer"):
    """One of the other kind, whose type has one word less."""

    number: int = 0


def key_of(event: type[IntegrationEvent]) -> str:
    """The routing key of its events."""
    return f"{event.event_kind}.{event.event_type}"


def messages(broker: MessageBroker, topic: str, *events: IntegrationEvent) -> list[IntegrationMessage]:
    """The events, encoded."""
    return [broker.message(event, Envelope.of(event), topic) for event in events]


def publish(broker: MessageBroker, topic: str, *events: IntegrationEvent, timeout: float = 30) -> None:
    """Publish them in one call."""
    broker.publish(messages(broker, topic, *events), timeout)


def numbers(received: Sequence[Received]) -> list[int]:
    """Of the events in CloudEvents."""
    return [json.loads(message.body)["data"]["number"] for message in received]


def take(receiver: Receiver, count: int, *, through_errors: bool = False) -> list[Received]:
    """Receive so many within 30 s, without acknowledging any. through_errors: go on after lost connections."""
    found: list[Received] = []

    def look() -> bool:
        try:
            found.extend(receiver.receive(1.0))
        except OSError:
            if not through_errors:
                raise
            found.clear()  # they come again
        return len(found) >= count

    wait_until(look, 30, f"{count} messages")
    return found
