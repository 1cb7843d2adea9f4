"""Ids: UUIDv7 for events, derived ids for what is made while handling one, UUIDv5 for deliveries."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from datetime import datetime
from uuid import UUID

import uuid_utils
import uuid_utils.compat


class DerivedIds:
    """Event ids for one run of a delivery: the n-th id is the same in every run of it.

    The ids are UUIDv7: the time is that of the event being handled plus one millisecond, then comes the
    position, then a hash of delivery and position, so that they sort after their cause and in order.
    """

    __slots__ = ("_cause", "_delivery_id", "_occurred_at", "_position", "closed")

    def __init__(self, delivery_id: str, cause: UUID, occurred_at: datetime) -> None:
        self._delivery_id = delivery_id
        self._cause = cause
        self._occurred_at = occurred_at
        self._position = 0
        #: The run is over: ids made by what outlives it are new ones.
        self.closed = False

    def next(self, event_type: str) -> UUID:
        """The id at the next position. Another type of event there, in another run, has another id."""
        position, self._position = self._position, self._position + 1
        version_7 = self._cause.version == 7  # it begins with its time in milliseconds
        caused_at = self._cause.int >> 80 if version_7 else int(self._occurred_at.timestamp() * 1000)
        # 12 bits of position fit before the hash; what is more moves into the time.
        milliseconds = caused_at + 1 + (position >> 12)
        digest = hashlib.sha256(f"{self._delivery_id}:{position}:{event_type}".encode()).digest()
        random_bits = int.from_bytes(digest[:8], "big") & ((1 << 62) - 1)
        value = (milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | (position & 0xFFF) << 64 | 2 << 62 | random_bits
        return UUID(int=value)


#: The ids of the delivery that is handled in this context; set by the scope of its run.
derived_ids: ContextVar[DerivedIds | None] = ContextVar("events_derived_ids", default=None)


def new_event_id(event_type: str) -> UUID:
    """A new UUIDv7; while a delivery is handled, the next id derived from it."""
    derived = derived_ids.get()
    return uuid_utils.compat.uuid7() if derived is None or derived.closed else derived.next(event_type)


def delivery_id(event_id: UUID, handler: str, generation: int = 0) -> str:
    """The id of the delivery of one event to one handler: ``uuid5(event_id, "handler:generation")``."""
    return str(uuid_utils.uuid5(uuid_utils.UUID(int=event_id.int), f"{handler}:{generation}"))
