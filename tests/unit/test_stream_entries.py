"""Entries of Redis streams: each name once."""

from __future__ import annotations

from datetime import UTC, datetime

from events_core.brokers.base import IntegrationMessage
from events_core.brokers.redis_stream.entries import fields_of, received
from events_core.envelope import Envelope
from events_core.publishing.messages import Delivery

NOW = datetime.now(UTC)


def test_a_header_with_the_name_of_a_field_is_left_out() -> None:
    """What came by a stream has all its fields as headers: written twice, either could count, or another body."""
    headers = {"event_id": "other", "payload": "{}", "body": "other", "topic": "other", "hops": 3, "tenant": "north"}
    envelope = Envelope("bank-9", "t", 0, "dead", NOW.isoformat(), "bank-9", None, 0, b"")
    message = IntegrationMessage(Delivery("", "1", "dead"), envelope, b"as it came", "text/x", NOW, headers)
    fields = fields_of(message, record=True, topic="dead")
    names = fields[::2]
    assert len({*names}) == len(names)
    found = received("all", "", b"1-0", [part if isinstance(part, bytes) else str(part).encode() for part in fields])
    assert (found.body, found.message_id, found.topic) == (b"as it came", "bank-9", "dead")
    assert (found.headers["tenant"], found.headers["hops"]) == ("north", "3")
