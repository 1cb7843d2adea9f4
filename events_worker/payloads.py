"""Payloads of messages as people may see them: secret fields are masked."""

from __future__ import annotations

import copy
import json
from functools import reduce
from typing import Any

from events_core.catalog import event_types, path_from
from events_core.envelope import Envelope
from events_core.errors import EventsError, InvalidEnvelope
from events_core.events import Event
from events_core.secret import MASK, masked, secret_values


def shown_data(event_type: Any, version: Any, data: Any) -> tuple[Any, str | None]:
    """An event's data, with its secret fields masked, and a remark on what is not as it was sent.

    version: 0 for the newest that is known. What has no class here is hidden: nothing tells which of it is secret.
    Of a version that only an upcaster knows, it is the data as upcasters make it.
    """
    try:
        cls, upcast, newer = _newest(event_type, version, data)
    except InvalidEnvelope as error:  # it names the upcaster, not the values
        return MASK, f"the data is hidden: {error}"
    except (EventsError, TypeError):
        return MASK, (
            f"the data is hidden: no class of {event_type} v{version} is loaded here, which would tell its secret "
            "fields. Give the application that defines it with -A"
        )
    if not isinstance(newer, dict):
        return MASK, f"the data is hidden: it is no object, but a {type(newer).__name__}"
    remark = f"the data is shown as its upcasters make it: of version {cls.version}" if upcast else None
    return masked(cls, newer), remark


def secrets_of(envelope: Envelope) -> list[Any]:
    """The secret values in an event's data: as they are on the wire, and as the handler sees them."""
    try:
        cls, _, newer = _newest(envelope.type, envelope.version, json.loads(envelope.data))
        return [*secret_values(cls, newer), *secret_values(cls, envelope.event())]
    except (EventsError, TypeError):
        return []  # no class of it here, or data that does not fit it: no handler has seen it


def _newest(event_type: str, version: int, data: Any) -> tuple[type[Event], bool, Any]:
    """The class that it is made into, whether by upcasters, and what they make of the data."""
    versions = [cls.version for cls in event_types() if cls.event_type == event_type]
    cls, upcasters = path_from(event_type, version or max(versions, default=0))
    if upcasters:
        data = reduce(lambda older, upcast: upcast(older), upcasters, copy.deepcopy(data))
    return cls, bool(upcasters), data
