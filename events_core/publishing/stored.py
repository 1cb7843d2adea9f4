"""A Celery message as it is kept in the coordination Redis, and how it is sent from there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from events_core.envelope import Envelope
from events_core.errors import UndecodableEvent
from events_core.publishing.messages import Delivery, Message, task_headers

#: Celery's own headers, of which a message that is sent again keeps these.
_KEPT = ("id", "root_id", "parent_id", "argsrepr")
_TRACING = ("traceparent", "tracestate", "baggage")


@dataclass(slots=True)
class StoredMessage:
    """One delivery's message, complete: it can be sent again from here. `body` is its JSON."""

    task: str
    queue: str
    headers: dict[str, Any]
    body: str = field(repr=False)

    def to_json(self) -> str:
        """The stored form."""
        return json.dumps(
            {"task": self.task, "queue": self.queue, "headers": self.headers, "body": self.body}, default=repr
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> StoredMessage:
        """From the stored form."""
        return cls(**json.loads(text))

    def message(self) -> Message:
        """What the publisher sends."""
        delivery = Delivery(self.task, self.headers["id"], self.queue)
        return Message(delivery, {**task_headers(self.task), **self.headers}, self.body.encode())

    def envelope(self) -> Envelope | None:
        """The envelope in it, if it holds one."""
        try:
            return Envelope.parse(json.loads(self.body)[0][0])
        except (ValueError, LookupError, TypeError, UndecodableEvent):
            return None


def kept_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """The headers of a received message that stay with the delivery: ours, Celery's ids and tracing ones."""
    kept = {name: _plain(headers[name]) for name in _KEPT if name in headers}
    for name, value in headers.items():
        if ("-" in name or name in _TRACING) and name.isascii() and not name.startswith("x-"):
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    """A header's value as every broker and JSON can carry it."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return value if value is None or isinstance(value, int | float) else repr(value)
