"""Events as logs of them are kept: ``{"event_id", "event_type", "occurred_at", "payload": {...}}``.

In a Redis stream each member is a field of the entry, and `payload` is a text of JSON: Redis holds no nested values.
"""

from __future__ import annotations

from events_core.brokers.base import Received
from events_core.brokers.formats import reading
from events_core.brokers.formats.writing import around
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent


class Record:
    """``application/json``. Tells no version, correlation, causation or hops; reads them where they stand beside."""

    name = "record"
    content_type = "application/json"

    def encode(self, event: IntegrationEvent, envelope: Envelope, source: str) -> bytes:
        """See `Format.encode`."""
        head = {"event_id": envelope.id, "event_type": envelope.type, "occurred_at": envelope.occurred_at}
        return around(head, "payload", envelope.data)

    def decode(self, received: Received) -> Envelope:
        """See `Format.decode`. The payload may be an object, or a text of JSON that is one."""
        record = reading.document(received)
        event_id = reading.identity(record.get("event_id"), "event_id", received.topic)
        payload = record.get("payload")
        if isinstance(payload, str):
            payload = reading.embedded(payload.encode(), "payload")
        return Envelope(
            event_id,
            reading.event_type(record.get("event_type"), "event_type"),
            reading.whole(record.get("version"), "version", 1, 0),
            reading.kind_of(received),
            reading.time(record.get("occurred_at"), "occurred_at"),
            reading.optional_label(record, "correlation_id") or event_id,
            reading.optional_label(record, "causation_id"),
            reading.whole(record.get("hops"), "hops", 0, 0),
            reading.data(reading.members(payload, "payload")),
            reading.traceparent(received, record.get("traceparent")),
        )
