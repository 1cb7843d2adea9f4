"""Dead letters as the admin shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from events_core.contrib.django.worker_side import reasons, shown_data

if TYPE_CHECKING:
    from events_core import EventSystem
    from events_worker.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list. attempts: how often it was started."""

    id: str
    event: str
    handler: str
    reason: str
    error: str
    attempts: int
    first: datetime | None
    died: datetime | None

    @classmethod
    def of(cls, letter: DeadLetter) -> Row:
        """Of a letter."""
        shown = letter.shown()
        first, died = (
            None if shown[name] is None else datetime.fromisoformat(shown[name]) for name in ("first_at", "dead_at")
        )
        event = f"{letter.event_type} v{letter.version}" if letter.event_type else "no event"
        return cls(letter.id, event, letter.handler or "", letter.reason, letter.error, letter.starts, first, died)

    @property
    def function(self) -> str:
        """The last part of the handler's name."""
        return self.handler.rpartition(".")[2]

    @property
    def module(self) -> str:
        """What is before it."""
        return self.handler.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are asked for: those that fit everything that is given. first: the place to begin at."""

    search: str = ""
    handler: str = ""
    type: str = ""
    reason: str = ""
    first: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """As a link has it."""
        first = query.get("first", "")
        texts = {name: query.get(key, "").strip() for name, key in _KEYS.items()}
        return cls(**texts, first=int(first) if first.isdecimal() and len(first) < 10 else 0)

    def __bool__(self) -> bool:
        return bool(self.search or self.handler or self.type or self.reason)

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.handler or letter.handler == self.handler)
            and (not self.type or letter.event_type == self.type)
            and (not self.reason or letter.reason == self.reason)
            and (not self.search or self._found_in(letter))
        )

    def _found_in(self, letter: DeadLetter) -> bool:
        texts = (letter.id, letter.event_id, letter.handler, letter.event_type, letter.error)
        return any(self.search.lower() in text.lower() for text in texts if text)

    def link(self, **changes: Any) -> str:
        """The link to the same list but for the changes."""
        other = replace(self, **{"first": 0, **changes})
        values = {key: getattr(other, name) for name, key in _KEYS.items()} | {"first": other.first or ""}
        return "?" + urlencode({key: value for key, value in values.items() if value})


_KEYS = {"search": "q", "handler": "handler", "type": "type", "reason": "reason"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A link in the list's filters."""

    text: str
    link: str
    chosen: bool


def choices(system: EventSystem, chosen: Filter) -> list[tuple[str, list[Choice]]]:
    """The filters beside the list: by reason, and by the events and handlers that this process knows."""
    known = {
        "reason": reasons(),
        "handler": sorted(spec.name for spec in system.event_map.handlers if spec.kind != "task"),
        "type": sorted({key if isinstance(key, str) else key.event_type for key, _ in system.event_map.bindings}),
    }
    return [
        (title, list(_choices(chosen, name, known[name])))
        for name, title in (("reason", "reason"), ("type", "event"), ("handler", "handler"))
    ]


def _choices(chosen: Filter, name: str, values: list[str]) -> Iterator[Choice]:
    now = getattr(chosen, name)
    yield Choice("All", chosen.link(**{name: ""}), not now)
    for value in values if not now or now in values else [now, *values]:
        yield Choice(value, chosen.link(**{name: value}), value == now)


def payload(letter: DeadLetter) -> tuple[str, str | None]:
    """The event's data with its secret fields masked, and a remark on what is not as it was sent.

    Of what is no event the bytes, in base64.
    """
    if letter.raw is not None:
        return letter.raw, "the bytes that came, in base64"
    body = (letter.message or {}).get("body", "")
    try:
        data = json.loads(body)[0][0]["data"]
    except (ValueError, LookupError, TypeError):
        return "", "the data cannot be read: it is no envelope of an event"
    shown, remark = shown_data(letter.event_type, letter.version, data)
    return json.dumps(shown, indent=2, ensure_ascii=False, default=repr), remark
