"""The queue ``{queue}.dead``: messages that no handler could be made to take, as they came, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from events_core.brokers import ExchangeBroker, IntegrationMessage, MessageBroker, Received, Subscription
from events_core.brokers.dead import ERROR, REASON, ROUTING_KEY, TOPIC, headers_of, id_of, time_of, word
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EmitError
from events_core.publishing.messages import Delivery

#: Bytes of a header.
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that will not be handled, and why."""

    received: Received
    reason: str
    error: str


class DeadQueue:
    """That of one queue. Used by its receiving thread."""

    def __init__(self, broker: MessageBroker, queue: str) -> None:
        self.name = f"{queue}.dead"
        self._broker = broker
        self._subscription = Subscription(self.name, frozenset({(self.name, "#")}))

    def declare(self) -> None:
        """Make it exist. Raises OSError, ConfigurationError."""
        self._broker.declare(self._subscription)

    def add(self, dead: Sequence[Dead], timeout: float) -> tuple[list[Dead], Exception | None]:
        """Put messages there; returns those that are confirmed, and why the others are not. timeout: seconds."""
        messages = [self._message(one) for one in dead]
        try:
            self._publish(messages, timeout)
        except EmitError as error:
            confirmed = {*error.confirmed}
            return [one for one, message in zip(dead, messages, strict=True) if message.delivery in confirmed], error
        except (OSError, ConfigurationError) as error:
            return [], error
        return [*dead], None

    def _publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """Someone may have deleted the queue: then it is made anew."""
        if not isinstance(self._broker, ExchangeBroker):
            self.declare()
            self._broker.publish(messages, timeout)
            return
        # Straight to the queue: declaring takes a connection of its own each time.
        self._broker.publish_to(self.name, messages, timeout)

    def _message(self, dead: Dead) -> IntegrationMessage:
        received, identity = dead.received, id_of(dead.received)
        sent_at = time_of(received) or datetime.now(UTC)
        topic, routing_key = _origin(received)
        # Only names the message: its body is the one that came.
        envelope = Envelope(identity, word(received.type), 0, "dead", sent_at.isoformat(), identity, None, 0, b"")
        return IntegrationMessage(
            Delivery("", str(uuid4()), self.name),  # of two messages with one id each is confirmed for itself
            envelope,
            received.body,
            word(received.content_type),
            sent_at,
            {
                **headers_of(received),
                REASON: dead.reason,
                ERROR: word(dead.error, _LONGEST_ERROR),
                TOPIC: word(topic),
                ROUTING_KEY: word(routing_key),
            },
        )


def _origin(received: Received) -> tuple[str, str]:
    """Its topic and routing key. What somebody put straight back into its queue has them from the last time."""
    if received.topic or TOPIC not in received.headers:
        return received.topic, received.routing_key
    return received.headers[TOPIC], received.headers.get(ROUTING_KEY, "")
