"""An office that prints pages: groups on a real Redis, with the test in the place of the workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import redis

from events_core import DomainEvent, EventSystem, GroupCompleted
from events_core.admission.client import Go
from events_core.envelope import Envelope
from events_core.ids import DerivedIds
from events_core.scope import HandlingScope
from events_worker.groups import look_after_groups

#: Milliseconds.
LEASE = 30_000


class Page(DomainEvent, event_type="office.page"):
    number: int
    text: str = ""


class Bound(GroupCompleted, event_type="office.bound"):
    title: str = ""


class Office:
    """A system with one handler of pages, and its worker: takes what is granted, and settles it."""

    def __init__(self, url: str, name: str, **options: Any) -> None:
        self.system = EventSystem(name, broker_url=url, **options)
        self.system.bind(Page, lambda event: None, name="print")
        self.system.bind(Bound, lambda event: None, name="deliver", ordered_by="title")
        self.client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)
        self.admission = self.system.turns.admission
        self.granted: list[dict[str, Any]] = []
        self.admission.coordination.streams = None  # the broker is elsewhere: here
        self.system.turns._publish = self._take
        self.admission.call(["declare", {"order:deliver": "continue"}])

    def _take(self, messages: Any, timeout: float) -> None:
        self.granted += [{"headers": message.headers, "body": json.loads(message.body)} for message in messages]

    def key(self, name: str) -> str:
        return f"{self.system.name}:{name}"

    def begin(self, message: dict[str, Any]) -> int:
        """Of a granted message; its token."""
        headers = message["headers"]
        answer = self.admission.acquire(headers["id"], 1, self.gates(message), LEASE, token=headers["events-grant"])
        assert isinstance(answer, Go), answer
        return answer.token

    @staticmethod
    def gates(message: dict[str, Any]) -> list[str]:
        return [f"group:{message['headers']['events-group']}|"]

    def end(self, message: dict[str, Any], token: int, result: str = "done") -> None:
        assert self.admission.release(message["headers"]["id"], token, self.gates(message), result, failed=False)

    def settle_next(self, number: int = 1) -> list[int]:
        """Of what is granted, in order; the numbers of the pages."""
        settled = []
        for _ in range(number):
            message = self.granted.pop(0)
            self.end(message, self.begin(message))
            settled.append(message["body"][0][0]["data"]["number"])
        return settled

    def settle_all(self) -> list[int]:
        settled = []
        while self.granted:
            settled += self.settle_next()
        return settled

    def look_after_groups(self) -> None:
        look_after_groups(self.system, self.admission)

    def completions(self) -> list[dict[str, Any]]:
        """The envelopes of completion events, which wait for their turn in an order of their own."""
        found = [message["body"][0][0] for message in self.granted if message["headers"]["task"] == "deliver"]
        return found


def pages(number: int, first: int = 0) -> Iterator[Page]:
    return (Page(number=first + count) for count in range(number))


def scope_of(cause: Page) -> tuple[HandlingScope, DerivedIds]:
    """A run of a delivery of `cause`."""
    scope = HandlingScope("d1", "r1", Envelope.of(cause), "office.page")
    return scope, DerivedIds("d1", cause.event_id, cause.occurred_at)
