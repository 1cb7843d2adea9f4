"""The format of diator, for consumers and producers that know no other.

``{"message_type", "message_name", "message_id", "payload": {"event_id", "event_timestamp", ...fields}}``
(https://github.com/akhundMurad/diator, its README and events/event_emitter.py).
"""

from __future__ import annotations

from events_core.brokers.base import Received
from events_core.brokers.formats import reading
from events_core.brokers.formats.writing import around, before, check_names
from events_core.envelope import Envelope
from events_core.events import ECSTEvent, IntegrationEvent, NotificationEvent

_TAKEN = frozenset({"event_timestamp"})
_KINDS = (NotificationEvent.event_kind, ECSTEvent.event_kind)


class Classic:
    """``application/json``. Tells no version, correlation, causation or hops."""

    name = "classic"
    content_type = "application/json"

    def encode(self, event: IntegrationEvent, envelope: Envelope, source: str) -> bytes:
        """See `Format.encode`. Raises EventDefinitionError for an extra field with a name of the format's own."""
        check_names(event, _TAKEN, self.name)
        payload = before({"event_id": envelope.id, "event_timestamp": envelope.occurred_at}, envelope.data)
        head = {"message_type": envelope.kind, "message_name": envelope.type, "message_id": envelope.id}
        return around(head, "payload", payload)

    def decode(self, received: Received) -> Envelope:
        """See `Format.decode`. A time without an offset is UTC, as diator means it."""
        message = reading.document(received)
        kind = message.get("message_type")
        if kind not in _KINDS:
            raise reading.wrong("message_type", f"is neither {' nor '.join(_KINDS)}")
        event_id = reading.identity(message.get("message_id"), "message_id", received.topic)
        payload = reading.members(message.get("payload"), "payload")
        timestamp = payload.pop("event_timestamp", None)
        return Envelope(
            event_id,
            reading.event_type(message.get("message_name"), "message_name"),
            0,
            kind,
            reading.time(timestamp, "payload.event_timestamp", naive_is_utc=True),
            event_id,
            None,
            0,
            reading.data(payload),
            reading.traceparent(received),
        )
