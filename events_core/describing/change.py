"""One difference between two schemas, and whom it breaks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

#: consumers: they know the old schema, and read what new producers write.
#: producers: they write by the old schema, as do events that wait in queues and dead letters; new consumers read it.
Party = Literal["consumers", "producers"]
Kind = Literal[
    "event-added",
    "event-removed",
    "version-added",
    "version-removed",
    "topic-changed",
    "kind-changed",
    "field-added",
    "field-removed",
    "now-always-sent",
    "no-longer-always-sent",
    "type-changed",
    "value-added",
    "value-removed",
    "widened",
    "narrowed",
    "not-judged",
]

BOTH: tuple[Party, ...] = ("consumers", "producers")
CONSUMERS: tuple[Party, ...] = ("consumers",)
PRODUCERS: tuple[Party, ...] = ("producers",)
NOBODY: tuple[Party, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """path: where in the payload, such as ``lines[].amount``; empty for the event itself. text: what changed."""

    path: str
    change: Kind
    breaks: tuple[Party, ...]
    text: str

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "breaks": list(self.breaks)}


def widened(path: str, text: str) -> Change:
    """New producers write what the old schema does not allow."""
    return Change(path, "widened", CONSUMERS, text)


def narrowed(path: str, text: str) -> Change:
    """What the old schema allows, a new consumer refuses."""
    return Change(path, "narrowed", PRODUCERS, text)


def not_judged(path: str, text: str) -> Change:
    """It may be either, or both."""
    return Change(path, "not-judged", BOTH, text)
