"""What the formats share when they read: a message from anyone becomes a checked document, or InvalidEnvelope.

Whatever comes from outside is one or the other; no other error leaves these functions, and no value is in a message.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL

from pydantic_core import from_json, to_json
from uuid_utils import UUID, uuid5

from events_core.brokers.base import Received
from events_core.errors import InvalidEnvelope
from events_core.events import ECSTEvent, NotificationEvent

#: Event types, and ids that are not ours, are at most this long.
LONGEST: Final = 200
_LARGEST: Final = 2**31 - 1
#: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NAMESPACE: Final = UUID(int=NAMESPACE_URL.int)
_ECST: Final = f"{ECSTEvent.event_kind}."
#: What an event has beside its fields: they are never among its data.
_META: Final = ("event_id", "occurred_at")


def document(received: Received) -> dict[str, Any]:
    """The JSON object in a message's body: UTF-8, no byte order mark, each name once, finite numbers only."""
    if received.content_type and not is_json(received.content_type):
        raise InvalidEnvelope("the message's content type is not that of JSON: send application/json")
    return _object(received.body, "the message's body")


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = from_json(body, allow_inf_nan=False)
        written = to_json(value)
        if b"Infinity" in written:
            from_json(written, allow_inf_nan=False)  # 1e999 was one
        if written != body:
            # from_json takes the last of two equal names. What reads as it would be written cannot have any.
            json.loads(body, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:  # the latter where the caller's own stack is deep
        # They tell of places, never of values.
        raise InvalidEnvelope(f"{what} is not JSON as it has to be: {error}") from None
    if type(value) is not dict:
        raise InvalidEnvelope(f"{what} is JSON, but no object: it is a {type(value).__name__}")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same name twice")
    return members


def is_json(content_type: Any) -> bool:
    """``*/json`` and ``*/*+json``, parameters aside, as the JSON format of CloudEvents has it (3.1.1)."""
    if type(content_type) is not str:
        return False
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return bool(kind) and (subtype == "json" or subtype.endswith("+json"))


def wrong(name: str, problem: str) -> InvalidEnvelope:
    """The error for one field of a message."""
    return InvalidEnvelope(f"the message's {name!r} {problem}")


def text(value: Any, name: str) -> str:
    """A text that must be there."""
    if type(value) is str and value:
        return value
    raise wrong(name, "is missing" if value is None else "is empty" if value == "" else "is no text")


def label(value: Any, name: str) -> str:
    """A text that goes into keys, headers and logs."""
    found = text(value, name)
    if len(found) > LONGEST or not found.isprintable():
        raise wrong(name, f"is longer than {LONGEST} characters or has control characters")
    return found


def optional_label(document: dict[str, Any], name: str) -> str | None:
    """A label that may be left out, or null."""
    return None if document.get(name) is None else label(document[name], name)


def event_type(value: Any, name: str) -> str:
    """The type of an event, which any class could have."""
    found = label(value, name)
    if " " in found:
        raise wrong(name, "has blanks")
    return found


def whole(value: Any, name: str, least: int, default: int) -> int:
    """A whole number of 32 bits. What relays messages may have made a text of it."""
    if value is None:
        return default
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if type(value) is not int or not least <= value <= _LARGEST:
        raise wrong(name, f"is no whole number from {least} to {_LARGEST}")
    return value


def time(value: Any, name: str, *, naive_is_utc: bool = False) -> str:
    """A time of RFC 3339, in UTC."""
    try:
        moment = datetime.fromisoformat(text(value, name))
        if moment.tzinfo is None and naive_is_utc:
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        pass
    raise wrong(name, "is no time with an offset, such as 2026-03-01T12:00:00Z")


def time_of(received: Received) -> str:
    """When the broker says that the message was sent, else now."""
    if received.timestamp is None:
        return datetime.now(UTC).isoformat()
    try:
        return datetime.fromtimestamp(received.timestamp, UTC).isoformat()
    except (ValueError, TypeError, OverflowError, OSError):
        raise wrong("timestamp", "is no time in seconds since 1970") from None


def identity(value: Any, name: str, origin: str) -> str:
    """The event's id: a UUID as it is, any other text as ``uuid5(NAMESPACE_URL, origin + " " + text)``."""
    found = text(value, name)
    try:
        return str(UUID(found))
    except ValueError:
        return derived(found, name, origin)


def derived(found: str, name: str, origin: str) -> str:
    """An id made of what is there: the same message has the same one."""
    try:
        return str(uuid5(_NAMESPACE, f"{origin} {found}"))
    except (ValueError, TypeError):  # half a surrogate pair, in a property of the message
        raise wrong(name, "is not text that UTF-8 can hold") from None


def members(value: Any, name: str) -> dict[str, Any]:
    """An object that must be there."""
    if type(value) is not dict:
        raise wrong(name, "is missing" if value is None else "is no object")
    return value


def data(fields: dict[str, Any]) -> bytes:
    """An event's own fields, as an envelope has them."""
    for name in _META:
        fields.pop(name, None)
    return to_json(fields)


def embedded(value: bytes, name: str) -> dict[str, Any]:
    """An object that was written as a text of JSON."""
    return _object(value, f"the message's {name!r}")


def kind_of(received: Received) -> str:
    """For formats that tell no kind: our own producers do, by the routing key."""
    key = received.routing_key
    return ECSTEvent.event_kind if isinstance(key, str) and key.startswith(_ECST) else NotificationEvent.event_kind


def traceparent(received: Received, attribute: Any = None) -> str | None:
    """The W3C trace context, of the event or else of the message. A wrong one is as good as none (W3C, 4.3)."""
    for found in (attribute, received.headers.get("traceparent") if received.headers else None):
        if type(found) is str and _TRACEPARENT.fullmatch(found):
            return found
    return None
