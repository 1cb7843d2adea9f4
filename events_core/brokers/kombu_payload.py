"""Messages as kombu's virtual transports carry them (JSON around a body), read without kombu's own classes.

Format: `Channel.prepare_message` and `_inplace_augment_message` of kombu.transport.virtual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

from events_core.brokers.base import Received


def encoding_of(content_type: str) -> str:
    """The content encoding to tell of: consumers of kombu's decode text by it."""
    text = content_type.startswith("text/") or content_type.endswith(("/json", "+json"))
    return "utf-8" if text else "binary"


def received(payload: Mapping[str, Any], decode_body: Callable[[Any, Any], Any]) -> Received:
    """A message from anyone, whose payload has passed `events_core.transport.payload.decode`."""
    properties = payload["properties"]
    body = decode_body(payload["body"], properties.get("body_encoding"))
    return _received(body, payload.get("content-type"), payload["headers"], properties, properties["delivery_info"])


def received_from(message: Any) -> Received:
    """A message from anyone, as kombu's other transports give it: of any type, and not decoded."""
    return _received(
        message.body, message.content_type, message.headers, message.properties or {}, message.delivery_info or {}
    )


def _received(body: Any, content_type: Any, headers: Any, properties: Any, information: Any) -> Received:
    timestamp = properties.get("timestamp")
    return Received(
        _bytes(body),
        content_type=_text(content_type),
        headers=headers if isinstance(headers, dict) else {},
        message_id=_text(properties.get("message_id")),
        type=_text(properties.get("type")),
        topic=_text(information.get("exchange")),
        routing_key=_text(information.get("routing_key")),
        timestamp=timestamp if isinstance(timestamp, int | float) else None,
        redelivered=bool(information.get("redelivered")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    return to_json(body, fallback=repr)
