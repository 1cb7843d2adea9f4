"""One dead letter."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from events_core.ids import delivery_id
from events_core.publishing.stored import StoredMessage
from events_worker.outcome import Dead
from events_worker.run import MEMBER_HEADER

#: What `--json` shows, in this order. The message with its payload is shown only on request.
SHOWN = (
    "id", "event_id", "event_type", "version", "handler", "reason", "error", "starts", "first_at", "dead_at",
    "error_type", "fingerprint", "generation", "queue",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that will not be tried again by itself, with its message and why.

    `id` is the delivery's id, or one of its own where the message is no delivery; `first_at` and `dead_at` are seconds
    since the epoch; `fingerprint` is equal for failures of the same type at the same place.
    `received` is what came with a message of another service that is no event: its properties and headers.
    """

    id: str
    event_id: str | None
    event_type: str | None
    version: int | None
    handler: str | None
    reason: str
    error: str
    error_type: str
    traceback: str
    fingerprint: str
    starts: int
    first_at: float
    dead_at: float
    generation: int
    queue: str
    message: dict[str, Any] | None
    raw: str | None = None
    received: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        letter_id: str,
        message: StoredMessage,
        outcome: Dead,
        *,
        starts: int,
        first_at: float,
        raw: str | None = None,
        received: dict[str, Any] | None = None,
    ) -> DeadLetter:
        """The dead letter of a message. raw: the undecodable body in base64. received: what came with it."""
        envelope = None if raw is not None else message.envelope()
        generation = message.headers.get("events-generation")
        return cls(
            id=letter_id,
            event_id=envelope.id if envelope else None,
            event_type=envelope.type if envelope else None,
            version=envelope.version if envelope else None,
            handler=message.task or None,
            reason=outcome.reason,
            error=outcome.error,
            error_type=outcome.error_type,
            traceback=outcome.traceback,
            fingerprint=_fingerprint(outcome),
            starts=starts,
            first_at=first_at,
            dead_at=time.time(),
            generation=generation if isinstance(generation, int) else 0,
            queue=message.queue,
            message=None if raw is not None else asdict(message),
            raw=raw,
            received=received,
        )

    def to_json(self) -> str:
        """The stored form."""
        values = asdict(self)
        if self.received is None:
            del values["received"]  # which older code, that may read it, does not know
        return json.dumps(values, default=repr)

    @classmethod
    def from_json(cls, text: str) -> DeadLetter:
        """From the stored form."""
        return cls(**json.loads(text))

    def stored_message(self) -> StoredMessage | None:
        """The message, where it can be sent again."""
        return None if self.message is None else StoredMessage(**self.message)

    @property
    def member(self) -> str | None:
        """The id under which gates know the delivery; None of what is no delivery.

        Of older code's letters, which do not say: that of the first generation under the handler's name in the letter.
        """
        if self.message is None or self.event_id is None or self.handler is None:
            return None
        known = self.message["headers"].get(MEMBER_HEADER)
        if isinstance(known, str):
            return known
        return delivery_id(UUID(self.event_id), self.handler) if self.generation else self.id

    def shown(self) -> dict[str, Any]:
        """What may be shown: times as ISO 8601 (None for one that is no time), no payload."""
        values = {name: getattr(self, name) for name in SHOWN}
        for name in ("first_at", "dead_at"):
            values[name] = _iso(values[name])
        return values


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # whoever sent the message may have put anything into its headers
        return None


def _fingerprint(outcome: Dead) -> str:
    places = re.findall(r'File "(.*?)", line \d+, in (\S+)', outcome.traceback)
    return hashlib.sha256(repr((outcome.reason, outcome.error_type, places)).encode()).hexdigest()[:12]
