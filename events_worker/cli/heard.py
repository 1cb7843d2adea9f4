"""A message from a message broker, as `events tail` shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from events_core.brokers.base import Format, Received
from events_core.envelope import Envelope
from events_core.errors import InvalidEnvelope
from events_core.receiving import format_of
from events_worker.payloads import shown_data

#: Characters of what cannot be decoded that are shown.
_BEGINNING = 500


@dataclass(frozen=True, slots=True)
class Heard:
    """envelope: None where it could not be decoded, for the reason in `error`."""

    received: Received
    envelope: Envelope | None
    error: str | None

    @property
    def type(self) -> str:
        """The event's type, as far as it is told."""
        return self.received.type if self.envelope is None else self.envelope.type

    @property
    def line(self) -> str:
        """One line, without the payload."""
        size = f"{len(self.received.body):,} bytes"
        if self.envelope is None:
            what = f"{self.received.topic}  {self.received.routing_key}".strip()
            return f"undecodable  {what}  {size}: {self.error}"
        one = self.envelope
        version = f" v{one.version}" if one.version else ""
        return f"{one.occurred_at}  {self.received.topic}  {one.type}{version}  {one.id}  {size}"

    @property
    def readable(self) -> str:
        """The payload, for people."""
        if self.envelope is None:
            return f"  {self._beginning}"
        data, remark = self._data(self.envelope)
        text = json.dumps(data, indent=2, ensure_ascii=False) if remark is None else f"({remark})"
        return "\n".join(f"  {line}" for line in text.splitlines())

    def shown(self, *, payload: bool) -> dict[str, Any]:
        """As JSON."""
        made: dict[str, Any] = {
            "topic": self.received.topic,
            "routing_key": self.received.routing_key,
            "event_type": self.type or None,
            "content_type": self.received.content_type,
            "bytes": len(self.received.body),
            "error": self.error,
        }
        if self.envelope is None:
            return made | ({"body": self._beginning} if payload else {})
        one = self.envelope
        made |= {
            "version": one.version or None,
            "id": one.id,
            "kind": one.kind,
            "occurred_at": one.occurred_at,
            "correlation_id": one.correlation_id,
            "causation_id": one.causation_id,
            "hops": one.hops,
        }
        if payload:
            made["payload"], remark = self._data(one)
            made |= {} if remark is None else {"remark": remark}
        return made

    @staticmethod
    def _data(envelope: Envelope) -> tuple[Any, str | None]:
        return shown_data(envelope.type, envelope.version, from_json(envelope.data))

    @property
    def _beginning(self) -> str:
        return self.received.body[: 4 * _BEGINNING].decode(errors="replace")[:_BEGINNING]


def heard(received: Received, fmt: Format, max_bytes: int) -> Heard:
    """Never raises for what stands in it. fmt: the broker's format. max_bytes: of the body, to be decoded at all."""
    if len(received.body) > max_bytes:
        return Heard(received, None, f"larger than MAX_EVENT_BYTES ({max_bytes:,})")
    try:
        return Heard(received, format_of(received, fmt).decode(received), None)
    except InvalidEnvelope as error:
        return Heard(received, None, str(error))
    except Exception as error:  # its text may quote the message
        return Heard(received, None, f"the message cannot be decoded: {type(error).__name__}")
