"""What stands around an event's fields on a message broker: the schema of a whole message, in each format.

docs/message-format.md specifies the formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from events_core.describing.json_schema import ABOUT, document
from events_core.describing.walk import Schema
from events_core.events import ECSTEvent, IntegrationEvent

_ID: Schema = {"type": "string", "format": "uuid"}
_ANY_ID: Schema = {"type": "string", "minLength": 1}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def message_schema(
    format_name: str, event: type[IntegrationEvent], payload: Schema, source: str | None = None
) -> Schema | None:
    """The schema of a message's body; None for a format that is not one of ours.

    payload: a schema or reference. source: ``/{system name}``, where that system sends it; None: anyone may, and may
    leave out what a reader can do without.
    """
    make = _FORMATS.get(format_name)
    return None if make is None else make(event, payload, source)


def message_document(event: type[IntegrationEvent], system: str, format_name: str, source: str | None) -> Schema:
    """As `document`, of a whole message in one of our formats."""
    made = document(event, system)
    definitions = {"$defs": made.pop("$defs")} if "$defs" in made else {}
    head = {"$schema": made.pop("$schema"), ABOUT: {**made.pop(ABOUT), "format": format_name}}
    return {**head, **_FORMATS[format_name](event, made, source), **definitions}


def entry_schema(format_name: str, event: type[IntegrationEvent], payload: Schema, body: Schema | None) -> Schema:
    """The schema of an entry of a Redis stream, whose fields are all texts. payload, body: schemas or references."""
    text = {"type": "string", "contentMediaType": "application/json"}
    content: Schema = {"payload": {**text, "x-content-schema": payload}}
    if format_name != "record":
        content = {"body": {**text, **({} if body is None else {"x-content-schema": body})}, "content_type": _TEXT}
    return _object(
        {
            "event_id": _ID,
            "event_type": {"const": event.event_type},
            "occurred_at": _TIME,
            **content,
            "message_type": {"const": event.event_kind},
            "version": {"const": str(event.version)},
            "correlation_id": _TEXT,
            "causation_id": _TEXT,
            "hops": {"type": "string", "pattern": "^[0-9]+$"},
            "traceparent": _TEXT,
            "topic": _TEXT,
        },
        ["event_id", "event_type", "occurred_at", *content],
    )


def _cloudevents(event: type[IntegrationEvent], payload: Schema, source: str | None) -> Schema:
    required = ["specversion", "id", "source", "type", "data"]
    if source is not None:
        required += ["time", "datacontenttype", "eventversion", "correlationid", "hops"]
    extensions: dict[str, Schema] = {"causationid": _TEXT, "traceparent": _TEXT}
    if event.partition_key is not None:
        extensions["partitionkey"] = {"type": "string", "description": f"The field {event.partition_key}."}
    if issubclass(event, ECSTEvent) and event.entity_version is not None:
        extensions["sequence"] = {"type": "string", "description": f"The field {event.entity_version}, in 19 digits."}
        extensions["sequencetype"] = {"const": "Integer"}
    return _object(
        {
            "specversion": {"const": "1.0"},
            "id": _ANY_ID if source is None else _ID,
            "source": _ANY_ID if source is None else {"const": source},
            "type": {"const": event.event_type},
            "time": _TIME,
            "datacontenttype": {"const": "application/json"} if source is not None else _TEXT,
            "eventversion": {"const": event.version},
            "correlationid": _TEXT,
            "hops": _COUNT,
            **extensions,
            "data": payload,
        },
        required,
    )


def _classic(event: type[IntegrationEvent], payload: Schema, source: str | None) -> Schema:
    own = _object({"event_id": _ANY_ID, "event_timestamp": _TIME}, ["event_timestamp"])
    return _object(
        {
            "message_type": {"const": event.event_kind},
            "message_name": {"const": event.event_type},
            "message_id": _ANY_ID if source is None else _ID,
            "payload": {"allOf": [own, payload]},
        },
        ["message_type", "message_name", "message_id", "payload"],
    )


def _flat(event: type[IntegrationEvent], payload: Schema, source: str | None) -> Schema:
    own = _object({"type": {"const": event.event_type}, "version": {"const": event.version}}, ["type"])
    return {"allOf": [own, payload]}


def _record(event: type[IntegrationEvent], payload: Schema, source: str | None) -> Schema:
    return _object(
        {
            "event_id": _ANY_ID if source is None else _ID,
            "event_type": {"const": event.event_type},
            "occurred_at": _TIME,
            "payload": payload,
        },
        ["event_id", "event_type", "occurred_at", "payload"],
    )


def _object(properties: dict[str, Any], required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": [*required]}


_FORMATS: dict[str, Callable[[type[IntegrationEvent], Schema, str | None], Schema]] = {
    "cloudevents": _cloudevents,
    "classic": _classic,
    "flat": _flat,
    "record": _record,
}
#: The names of the formats that are ours.
FORMATS = tuple(_FORMATS)
