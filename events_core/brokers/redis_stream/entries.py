"""Entries of Redis streams: an event as fields of an entry, and what any entry is to a receiver.

Format: one field for each of event_id, event_type, occurred_at and payload, which is a text of JSON; further ones that
are ours: message_type, version, correlation_id, and where there is one causation_id, hops, traceparent, topic. In
another format than `record` the body is one field, `body`, with content_type beside it in place of the payload. A
message's further headers are fields too, but for names that are taken.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pydantic_core import to_json

from events_core.brokers.base import IntegrationMessage, Received
from events_core.brokers.formats.writing import around
from events_core.brokers.matching import wanted
from events_core.events import ECSTEvent, NotificationEvent

_KINDS = (NotificationEvent.event_kind, ECSTEvent.event_kind)
_BODY, _PAYLOAD = "body", "payload"


def fields_of(message: IntegrationMessage, *, record: bool, topic: str | None) -> list[str | bytes | int]:
    """Names and values, in turn. topic: where the stream does not tell it."""
    envelope = message.envelope
    fields: list[str | bytes | int] = ["event_id", envelope.id, "event_type", envelope.type]
    fields += ["occurred_at", envelope.occurred_at]
    if record and envelope.data:  # without any it only names a body, which came from elsewhere
        fields += [_PAYLOAD, envelope.data]
    else:
        fields += [_BODY, message.body, "content_type", message.content_type]
    fields += ["message_type", envelope.kind, "version", envelope.version, "correlation_id", envelope.correlation_id]
    if envelope.causation_id is not None:
        fields += ["causation_id", envelope.causation_id]
    if envelope.hops:
        fields += ["hops", envelope.hops]
    if envelope.traceparent is not None:
        fields += ["traceparent", envelope.traceparent]
    if topic is not None:
        fields += ["topic", topic]
    taken = {_BODY, _PAYLOAD, *fields[::2]}
    for name, value in message.headers.items():
        if name not in taken:
            fields += [name, str(value)]
    return fields


def received(stream: str, topic: str, entry: bytes, fields: Sequence[bytes]) -> Received:
    """An entry from anyone, with the routing key if it tells both parts of it.

    topic: the stream's; empty for a stream of all topics, where the entry may tell it.
    """
    raw = {name.decode(errors="replace"): value for name, value in zip(fields[::2], fields[1::2], strict=False)}
    payload, body = raw.pop(_PAYLOAD, None), raw.pop(_BODY, None)
    headers = {name: value.decode(errors="replace") for name, value in raw.items()}
    message_type, event_type = headers.get("message_type", ""), headers.get("event_type", "")
    if payload is not None:
        body = around(headers, _PAYLOAD, payload)  # as it is: its reader finds out whether it is JSON
    return Received(
        body if body is not None else to_json(headers),
        content_type=headers.get("content_type", "application/json"),
        headers=headers,
        message_id=headers.get("event_id", ""),
        type=event_type,
        topic=topic or headers.get("topic", ""),
        routing_key=f"{message_type}.{event_type}" if message_type and event_type else "",
        timestamp=int(entry.partition(b"-")[0]) / 1000,
        tag=(stream, entry),
    )


def is_wanted(message: Received, bindings: Collection[tuple[str, str]]) -> bool:
    """Whether a queue is bound to what an entry says that it is; fills in topic and kind where it does not say.

    One without a type is wanted: its reader accounts for it.
    """
    topics = [message.topic] if message.topic else sorted({topic for topic, _ in bindings})
    if not message.type:
        message.topic = topics[0]
        return True
    keys = [message.routing_key] if message.routing_key else [f"{kind}.{message.type}" for kind in _KINDS]
    for topic in topics:
        for key in keys:
            if wanted(bindings, topic, key):
                message.topic, message.routing_key = topic, key
                return True
    return False


def entries_of(reply: Any) -> list[tuple[str, bytes, Sequence[bytes]]]:
    """The reply to XREAD or XREADGROUP: stream, id and fields of each entry."""
    return [(stream.decode(), entry, fields) for stream, entries in reply or () for entry, fields in entries if fields]
