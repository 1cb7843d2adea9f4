"""The format of ACherryJam/events: ``{"type", "version", ...fields}``.

(https://github.com/ACherryJam/events, `IntegrationEvent.to_dict`.) The event's id and time are properties of the
message, as AMQP has them.
"""

from __future__ import annotations

from events_core.brokers.base import Received
from events_core.brokers.formats import reading
from events_core.brokers.formats.writing import before, check_names
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent

_TAKEN = frozenset({"type", "version"})


class Flat:
    """``application/json``. Tells no id, time, correlation, causation or hops."""

    name = "flat"
    content_type = "application/json"

    def encode(self, event: IntegrationEvent, envelope: Envelope, source: str) -> bytes:
        """See `Format.encode`. Raises EventDefinitionError for a field with a name of the format's own."""
        check_names(event, _TAKEN, self.name)
        return before({"type": envelope.type, "version": envelope.version}, envelope.data)

    def decode(self, received: Received) -> Envelope:
        """See `Format.decode`. A message without an id has one of its topic and body: equal ones are one event."""
        message = reading.document(received)
        event_type = reading.event_type(message.pop("type", None), "type")
        version = reading.whole(message.pop("version", None), "version", 1, 0)
        event_id = _identity(received)
        return Envelope(
            event_id,
            event_type,
            version,
            reading.kind_of(received),
            reading.time_of(received),
            event_id,
            None,
            0,
            reading.data(message),
            reading.traceparent(received),
        )


def _identity(received: Received) -> str:
    if received.message_id:
        return reading.identity(received.message_id, "message_id", received.topic)
    return reading.derived(received.body.decode(), "body", received.topic)
