"""The queue ``{queue}.dead``: messages that no handler could be made to take, as they came, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from events_core.brokers import ExchangeBroker, IntegrationMessage, MessageBroker, Received, Subscription
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EmitError
from events_core.publishing.messages import Delivery

#: Why it is there: "oversize", "undecodable", "invalid", "unknown_event", "exhausted", "gave_up", "failed".
REASON = "events-dead-reason"
#: What was wrong, without the event's values.
ERROR = "events-dead-error"
#: Where it came from, to be put back there.
TOPIC = "events-dead-topic"
ROUTING_KEY = "events-dead-routing-key"

#: Bytes of a header; AMQP's routing keys have at most 255 bytes.
_LONGEST_ERROR, _LONGEST_WORD = 500, 200


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
        received, now = dead.received, datetime.now(UTC)
        event_type = _word(received.type) or "unknown"
        identity = _uuid(received.message_id)
        # Only names the message: its body is the one that came.
        envelope = Envelope(identity, event_type, 0, "dead", now.isoformat(), identity, None, 0, b"")
        return IntegrationMessage(
            Delivery("", str(uuid4()), self.name),  # of two messages with one id each is confirmed for itself
            envelope,
            received.body,
            _word(received.content_type),
            now,
            {
                REASON: dead.reason,
                ERROR: _word(dead.error, _LONGEST_ERROR),
                TOPIC: _word(received.topic),
                ROUTING_KEY: _word(received.routing_key),
            },
        )


def _word(text: str, longest: int = _LONGEST_WORD) -> str:
    """As far as brokers take it: nothing that is no UTF-8, and not too long."""
    return str(text).encode(errors="replace")[:longest].decode(errors="ignore")


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except (ValueError, TypeError, AttributeError):
        return str(uuid4())
