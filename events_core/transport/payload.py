"""Messages as they lie in Redis: kombu's JSON, or whatever somebody put there."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import uuid_utils
from kombu.utils.json import loads
from pydantic_core import from_json, to_json

DecodeBody = Callable[[Any, Any], Any]


def decode(raw: bytes, queue: str, decode_body: DecodeBody) -> dict[str, Any]:
    """The message; what is none becomes one that no worker can decode, with `raw` as its body."""
    try:
        message = _load(raw)
        properties = message["properties"]
        information = properties["delivery_info"]
        information["exchange"], information["routing_key"], properties["delivery_tag"]
        message["headers"].keys()
        decode_body(message["body"], properties.get("body_encoding"))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return undecodable(raw, queue)
    return dict(message)


def encode(
    body: bytes,
    content: tuple[str, str],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    exchange: str,
    routing_key: str,
) -> bytes:
    """The JSON of one message. content: its type and encoding. properties: further ones, such as its id."""
    content_type, content_encoding = content
    return to_json(
        {
            "body": base64.b64encode(body).decode("ascii"),
            "content-encoding": content_encoding,
            "content-type": content_type,
            "headers": headers,
            "properties": {
                **properties,
                "delivery_mode": 2,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid_utils.uuid7()),
            },
        }
    )


def _load(raw: bytes) -> Any:
    if b"__type__" in raw:  # kombu's form of dates and the like
        return loads(raw)
    try:
        return from_json(raw)
    except ValueError:  # stricter than Python's own, of surrogates for example
        return loads(raw)


def undecodable(raw: bytes, queue: str) -> dict[str, Any]:
    """A message of unknown content with `raw` as its body."""
    return {
        "body": base64.b64encode(raw).decode("ascii"),
        "content-type": "application/octet-stream",
        "content-encoding": "binary",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_tag": str(uuid_utils.uuid7()),
        },
    }
