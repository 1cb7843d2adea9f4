"""What goes with a message that cannot be handled: why, where it came from, and its properties.

It may be from anyone: what some broker would not take must not keep it from being put away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from events_core.brokers.base import LONGEST_NAME, Received

#: Names that begin so are ours.
_OURS = "events-dead-"
#: Why it is there: "oversize", "undecodable", "invalid", "unknown_event", "exhausted", "gave_up", "failed",
#: "unroutable".
REASON = f"{_OURS}reason"
#: What was wrong, without the event's values.
ERROR = f"{_OURS}error"
#: Where it came from, to be put back there.
TOPIC = f"{_OURS}topic"
ROUTING_KEY = f"{_OURS}routing-key"

#: Of a message's own headers: how many, and bytes of names and values in all.
_MOST_HEADERS, _HEADER_BYTES = 50, 8192
#: Bytes of an id: AMQP's have at most 255, those of others could be anything.
_LONGEST_ID = 8192
#: Integers that AMQP has.
_INTEGERS = range(-(2**63), 2**63)
#: RabbitMQ would send copies to whatever they name.
_NOT_SENT_ON = frozenset({"CC", "BCC"})

Header = str | int | float | bool


def word(text: object, longest: int = LONGEST_NAME) -> str:
    """As far as brokers take it: nothing that is no UTF-8, and not too long."""
    return str(text).encode(errors="replace")[:longest].decode(errors="ignore")


def id_of(received: Received) -> str:
    """Its sender's id for it, on which the event's may depend. Empty where there was none."""
    return word(received.message_id, _LONGEST_ID)


def time_of(received: Received) -> datetime | None:
    """When the broker says that it was sent, if that is a time."""
    if received.timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(received.timestamp, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def headers_of(received: Received) -> dict[str, Header]:
    """Its own headers: the first 50 texts, numbers and truth values, of 8 KiB in all."""
    kept: dict[str, Header] = {}
    left = _HEADER_BYTES
    for name, value in _plain(received.headers):
        size = len(name.encode()) + len(str(value).encode())
        if size <= left and len(kept) < _MOST_HEADERS:
            kept[name] = value
            left -= size
    return kept


def _plain(headers: Mapping[Any, Any]) -> Iterator[tuple[str, Header]]:
    for name, value in headers.items():
        if not isinstance(name, str) or name.startswith(_OURS) or name in _NOT_SENT_ON or word(name) != name:
            continue
        if isinstance(value, str):
            yield name, value.encode(errors="replace").decode()
        elif isinstance(value, float):
            if math.isfinite(value):
                yield name, value
        elif isinstance(value, int) and value in _INTEGERS:
            yield name, value
