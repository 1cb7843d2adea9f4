"""The queue ``{queue}.dead``: messages that no handler could be made to take, as they came, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from events_core.brokers import IntegrationMessage, MessageBroker, Received, Subscription
from events_core.envelope import Envelope
from events_core.publishing.messages import Delivery

#: Why it is there: "oversize", "undecodable", "invalid", "unknown_event", "exhausted", "gave_up", "failed".
REASON = "events-dead-reason"
#: What was wrong, without the event's values.
ERROR = "events-dead-error"
#: Where it came from, to be put back there.
TOPIC = "events-dead-topic"
ROUTING_KEY = "events-dead-routing-key"

#: Characters of a header; AMQP's routing keys have at most 255 bytes.
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

    def add(self, dead: Sequence[Dead], timeout: float) -> None:
        """Put messages there, confirmed. timeout: seconds. Raises EmitError."""
        self._broker.publish([self._message(one) for one in dead], timeout)

    def _message(self, dead: Dead) -> IntegrationMessage:
        received, now = dead.received, datetime.now(UTC)
        event_type = _word(received.type) or "unknown"
        identity = _uuid(received.message_id)
        # Only names the message: its body is the one that came.
        envelope = Envelope(identity, event_type, 0, "dead", now.isoformat(), identity, None, 0, b"")
        return IntegrationMessage(
            Delivery("", identity, self.name),
            envelope,
            received.body,
            received.content_type,
            now,
            {
                REASON: dead.reason,
                ERROR: dead.error[:_LONGEST_ERROR],
                TOPIC: _word(received.topic),
                ROUTING_KEY: _word(received.routing_key),
            },
        )


def _word(text: str) -> str:
    return str(text).encode(errors="replace")[:_LONGEST_WORD].decode(errors="ignore")


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except (ValueError, TypeError, AttributeError):
        return str(uuid4())
