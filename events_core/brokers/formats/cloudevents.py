"""CloudEvents 1.0 in structured JSON: what every language has a library for.

Sources: https://github.com/cloudevents/spec, v1.0.2: spec.md, formats/json-format.md, and the extensions partitioning,
sequence and distributed tracing. `correlationid` and `causationid` are as in its extension correlation; `eventversion`
and `hops` are our own.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from pydantic_core import to_json, to_jsonable_python

from events_core.brokers.base import Received
from events_core.brokers.formats import reading
from events_core.brokers.formats.writing import around
from events_core.envelope import Envelope
from events_core.events import ECSTEvent, IntegrationEvent

#: The Integer of the extension `sequence` has 32 bits.
_LARGEST_INTEGER: Final = 2**31 - 1
#: Sequences must sort as texts (extension `sequence`): all are as long as the largest number of 64 bits.
_DIGITS: Final = 19
#: What the type String of CloudEvents forbids, as far as a field can hold it.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


class CloudEvents:
    """``application/cloudevents+json``. Carries everything: version, correlation, causation, hops and trace."""

    name = "cloudevents"
    content_type = "application/cloudevents+json"

    def encode(self, event: IntegrationEvent, envelope: Envelope, source: str) -> bytes:
        """See `Format.encode`."""
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": envelope.id,
            "source": source,
            "type": envelope.type,
            "time": envelope.occurred_at,
            "datacontenttype": "application/json",
            "eventversion": envelope.version,
            "correlationid": envelope.correlation_id,
            "hops": envelope.hops,
        }
        if envelope.causation_id is not None:
            attributes["causationid"] = envelope.causation_id
        if envelope.traceparent is not None:
            attributes["traceparent"] = envelope.traceparent
        _add_extensions(attributes, event)
        return around(attributes, "data", envelope.data)

    def decode(self, received: Received) -> Envelope:
        """See `Format.decode`. Without `time`, the event has the message's timestamp, or happened now."""
        attributes = reading.document(received)
        if attributes.get("specversion") != "1.0":
            raise reading.wrong("specversion", "is not '1.0'")
        source = reading.text(attributes.get("source"), "source")
        event_id = reading.identity(attributes.get("id"), "id", source)
        occurred_at = attributes.get("time")
        return Envelope(
            event_id,
            reading.event_type(attributes.get("type"), "type"),
            reading.whole(attributes.get("eventversion"), "eventversion", 1, 0),
            reading.kind_of(received),
            reading.time_of(received) if occurred_at is None else reading.time(occurred_at, "time"),
            reading.optional_label(attributes, "correlationid") or event_id,
            reading.optional_label(attributes, "causationid"),
            reading.whole(attributes.get("hops"), "hops", 0, 0),
            _data(attributes),
            reading.traceparent(received, attributes.get("traceparent")),
        )


def _add_extensions(attributes: dict[str, Any], event: IntegrationEvent) -> None:
    key = event.partition_key
    if key is not None and (partition := _as_text(getattr(event, key))):
        attributes["partitionkey"] = partition
    if isinstance(event, ECSTEvent) and event.entity_version is not None:
        _add_sequence(attributes, getattr(event, event.entity_version))


def _add_sequence(attributes: dict[str, Any], version: Any) -> None:
    """The number of the entity's state, among those with the same `partitionkey`."""
    if type(version) is int and 0 <= version < 10**_DIGITS:
        attributes["sequence"] = str(version).zfill(_DIGITS)
        if 1 <= version <= _LARGEST_INTEGER:
            attributes["sequencetype"] = "Integer"


def _as_text(value: Any) -> str:
    """The value as it is in the data; a number as its digits. Empty for what no attribute can hold."""
    if type(value) is not str:
        value = to_jsonable_python(value, bytes_mode="base64")
    found = "" if value is None else value if type(value) is str else to_json(value).decode()
    return "" if _CONTROL.search(found) else found


def _data(attributes: dict[str, Any]) -> bytes:
    content_type = attributes.get("datacontenttype")
    if content_type is not None and not reading.is_json(content_type):
        raise reading.wrong("datacontenttype", "is not that of JSON")
    if attributes.get("data_base64") is None:
        return reading.data(reading.members(attributes.get("data"), "data"))
    if "data" in attributes:
        raise reading.wrong("data_base64", "stands beside 'data'")
    try:
        binary = base64.b64decode(reading.text(attributes["data_base64"], "data_base64"), validate=True)
    except (binascii.Error, ValueError):
        raise reading.wrong("data_base64", "is no Base64") from None
    return reading.data(reading.embedded(binary, "data_base64"))
