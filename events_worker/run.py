"""One run of a delivery: what the steps of the execution share."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import to_json

from events_core.admission.gates import DEFAULT_LEASE
from events_core.admission.turns import GRANT_HEADER
from events_core.envelope import Envelope
from events_core.events import Event
from events_core.handler_options import GRANTED
from events_core.handlers import HandlerSpec
from events_core.publishing.messages import Carried, delivery_body
from events_core.publishing.stored import StoredMessage, kept_headers
from events_worker.limits.leases import Lease

#: On deliveries whose message may be made twice: names the message. Whether another one has done it is asked first.
ONCE_HEADER = "events-once"

#: The id under which the gates know the delivery, whatever its handler's name, its gates and its generation are by now.
MEMBER_HEADER = "events-member"


class Newest(NamedTuple):
    """The version of an entity that is the newest one once a run is done."""

    handler: str
    entity: str
    version: int


@dataclass(slots=True)
class Run:
    """One run of a delivery.

    task: the name its message carries. payload: the decoded first argument. number: counts the runs of the delivery,
    whatever started them; attempt counts those that failed. starts: begun so far, this one included.
    in_vain: how often this message was delivered before and not settled, where the broker counts it. dangers: starts
    of earlier runs that would have ended the process, had the worker not caught what they raised.
    member, gates, token, lease, lease_ms: what admission gave it; see `limits`. granted: it was parked. recorded: Redis
    knows that it is under way. instead: the handler's fallback runs at once. failed: the handler itself has failed, as
    a breaker counts it, whatever became of the delivery; None: it was not called. newest: what is newest of its entity
    once done.
    suspect: a start of it did not come to an end: it runs alone. isolated: this is that process of its own.
    """

    task_id: str
    task: str
    queue: str
    headers: dict[str, Any]
    payload: Any
    redelivered: bool = False
    in_vain: int = 0
    dangers: int = 0
    suspect: bool = False
    isolated: bool = False
    attempt: int = 1
    number: int = 1
    starts: int = 1
    started_at: float = field(default_factory=time.time)
    spec: HandlerSpec | None = None
    envelope: Envelope | None = None
    event: Event | None = None
    follow_ups: list[Carried] = field(default_factory=list)
    member: str = ""
    gates: list[str] = field(default_factory=list)
    token: int = 0
    lease: Lease | None = None
    lease_ms: int = DEFAULT_LEASE
    granted: bool = False
    recorded: bool = False
    instead: bool = False
    failed: bool | None = None
    newest: Newest | None = None

    @classmethod
    def of(
        cls, task_id: str, task: str, queue: str, headers: dict[str, Any] | None, payload: Any, *, redelivered: bool
    ) -> Run:
        """The run that a received message asks for."""
        headers = headers or {}
        return cls(
            task_id=task_id,
            task=task,
            queue=queue.removesuffix(GRANTED),
            headers=headers,
            payload=payload,
            redelivered=redelivered,
            attempt=_number(headers, "events-attempt", 1),
            number=_number(headers, "events-run", 1),
            starts=_number(headers, "events-starts", 0) + 1,
            in_vain=_number(headers, "x-delivery-count", 0) + _number(headers, "events-in-vain", 0),
            dangers=_number(headers, "events-dangers", 0),
        )

    def remember(self) -> None:
        """From now on its messages say that Redis keeps something of the delivery, and under which id."""
        self.headers = {**self.headers, MEMBER_HEADER: self.member}

    @property
    def ordinary(self) -> bool:
        """A first run of a message that was delivered once: nothing is asked and nothing is stored about it."""
        return self.first and not self.once

    @property
    def first(self) -> bool:
        """A first run of a message that was delivered once, as far as its broker tells."""
        headers = self.headers
        first = self.number == 1 and not self.redelivered
        return first and not headers.get("events-generation") and "events-copy" not in headers

    @property
    def once(self) -> str:
        """Names this message, of which there may be several for one delivery; empty where there is only one.

        Whoever turns another service's event into deliveries may do so twice.
        """
        return str(self.headers.get(ONCE_HEADER) or "")

    @property
    def generation(self) -> int:
        """How often it was redriven."""
        return _number(self.headers, "events-generation", 0)

    @property
    def starts_of_it(self) -> int:
        """How often this run was begun, this time included."""
        return self.starts - _number(self.headers, "events-starts", 0)

    @property
    def first_at(self) -> float:
        """When the delivery was begun first, in seconds since the epoch."""
        return self.time("events-first-at")

    def time(self, header: str) -> float:
        """The time in a header, in seconds since the epoch; when this run began, where there is none."""
        value = self.headers.get(header)
        if isinstance(value, int | float) and 0 < value <= self.started_at + 86400:
            return float(value)
        return self.started_at  # a forged one: infinite, or further ahead than any clock is wrong

    def next_message(self, *, attempt: int, **headers: Any) -> StoredMessage:
        """The message of the delivery's next run."""
        return self.message(
            {
                "retries": attempt - 1,
                "events-attempt": attempt,
                "events-run": self.number + 1,
                "events-starts": self.starts,
                "events-first-at": self.first_at,
                "events-held-since": None,
                **({"events-dangers": self.dangers} if self.dangers else {}),
                **headers,
            }
        )

    def waiting_message(self) -> StoredMessage:
        """This run's message, while it is parked."""
        headers: dict[str, Any] = {"events-in-vain": self.in_vain} if self.in_vain else {}
        if self.redelivered:  # to the broker it is a new one
            headers["events-copy"] = True
        return self.message(headers)

    def message(self, headers: dict[str, Any] | None = None) -> StoredMessage:
        """This delivery's message, with some headers changed."""
        kept = kept_headers(self.headers)
        for name in ("events-in-vain", GRANT_HEADER):  # of the run that its message was a copy of
            kept.pop(name, None)
        return StoredMessage(
            task=self.spec.name if self.spec else self.task,
            queue=self.queue,
            headers={**kept, "id": self.task_id, **(headers or {})},
            body=delivery_body(_json(self.payload)).decode(),
        )


def _json(payload: Any) -> bytes:
    try:
        return to_json(payload)
    except ValueError:  # stricter than Python's own, of surrogates for example
        return json.dumps(payload).encode()


def _number(headers: dict[str, Any], name: str, default: int) -> int:
    value = headers.get(name, default)
    return value if isinstance(value, int) and value >= 0 else default
