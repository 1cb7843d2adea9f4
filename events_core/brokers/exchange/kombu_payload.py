"""Messages as kombu's virtual transports carry them (JSON around a body), read without kombu's own classes.

Format: `Channel.prepare_message` and `_inplace_augment_message` of kombu.transport.virtual.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

from events_core.brokers.base import Received

#: Seconds since 1970 that no clock shows.
_NO_TIME = 1e12


def encoding_of(content_type: str) -> str:
    """The content encoding to tell of: consumers of kombu's decode text by it."""
    text = content_type.startswith("text/") or content_type.endswith(("/json", "+json"))
    return "utf-8" if text else "binary"


def received(payload: Mapping[str, Any], decode_body: Callable[[Any, Any], Any]) -> Received:
    """A message from anyone, whose payload has passed `events_core.transport.payload.decode`."""
    try:
        properties = payload["properties"]
        body = decode_body(payload["body"], properties.get("body_encoding"))
        return _received(body, payload.get("content-type"), payload["headers"], properties, properties["delivery_info"])
    except Exception:  # it would block its queue for ever: what is empty is refused by its reader, and accounted for
        return Received(b"")


def received_from(message: Any) -> Received:
    """A message from anyone, as kombu's other transports give it: of any type, and not decoded."""
    return _received(
        message.body, message.content_type, message.headers, message.properties or {}, message.delivery_info or {}
    )


def _received(body: Any, content_type: Any, headers: Any, properties: Any, information: Any) -> Received:
    timestamp = properties.get("timestamp")
    return Received(
        _bytes(body),
        content_type=text_of(content_type),
        headers=_headers(headers),
        message_id=text_of(properties.get("message_id")),
        type=text_of(properties.get("type")),
        topic=text_of(information.get("exchange")),
        routing_key=text_of(information.get("routing_key")),
        timestamp=timestamp if isinstance(timestamp, int | float) and abs(timestamp) < _NO_TIME else None,
        redelivered=bool(information.get("redelivered")),
    )


def text_of(value: Any) -> str:
    """A property that should be a text; lone surrogates, which nothing can store or send on, are replaced."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _headers(headers: Any) -> dict[str, Any]:
    """Those that can be sent on."""
    if not headers or not isinstance(headers, dict):
        return {}
    return {name: value for name, value in headers.items() if _is_sendable({name: value})}


def _is_sendable(value: Any) -> bool:
    try:
        to_json(value, fallback=repr)
    except ValueError:  # lone surrogates, nesting
        return False
    return True


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    try:
        return to_json(body, fallback=repr)
    except ValueError:  # lone surrogates, nesting: Python's own knows how to write both
        return json.dumps(body, default=repr).encode()
