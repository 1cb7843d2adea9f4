"""What has changed between two sets of schemas, as `events schema` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from events_core.describing.change import BOTH, CONSUMERS, NOBODY, Change
from events_core.describing.compare import Comparison
from events_core.describing.json_schema import ABOUT
from events_core.describing.walk import Schema

#: Schemas by event type and version.
Schemas = Mapping[tuple[str, int], Schema]


@dataclass(frozen=True, slots=True)
class EventChange:
    """One change of one event."""

    event_type: str
    version: int
    change: Change

    @property
    def breaking(self) -> bool:
        """Whether it breaks anybody."""
        return bool(self.change.breaks)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"event_type": self.event_type, "version": self.version, **self.change.shown()}


def by_event(documents: Iterable[Schema]) -> dict[tuple[str, int], Schema]:
    """The documents by event type and version. Raises ValueError for two of one event."""
    found: dict[tuple[str, int], Schema] = {}
    for one in documents:
        key = (one[ABOUT]["type"], one[ABOUT]["version"])
        if key in found:
            raise ValueError(f"there are two schemas of {key[0]} version {key[1]}: leave one")
        found[key] = one
    return found


def changes(old: Schemas, new: Schemas) -> list[EventChange]:
    """What has changed, by event."""
    return [
        EventChange(event_type, version, change)
        for event_type, version in sorted({*old, *new})
        for change in _of_event(old, new, (event_type, version))
    ]


def _of_event(old: Schemas, new: Schemas, key: tuple[str, int]) -> Iterator[Change]:
    event_type, version = key
    if key not in new:
        others = [document[ABOUT] for (known_type, _), document in new.items() if known_type == event_type]
        if any(version in other.get("reads", ()) for other in others):
            text = f"version {version} removed: who knows no other waits in vain; what it wrote, upcasters make newer"
            yield Change("", "version-removed", CONSUMERS, text)
        elif others:
            text = f"version {version} removed: who knows no other waits in vain, and what it wrote cannot be read"
            yield Change("", "version-removed", BOTH, text)
        else:
            yield Change("", "event-removed", BOTH, "removed: whoever waits for it gets none")
    elif key not in old:
        if any(t == event_type for t, _ in old):
            text = f"version {version} added: consumers must know it before it is emitted"
            yield Change("", "version-added", NOBODY, text)
        else:
            yield Change("", "event-added", NOBODY, "added")
    else:
        yield from _about(old[key][ABOUT], new[key][ABOUT])
        yield from Comparison(old[key], new[key]).changes()


def _about(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if old.get("topic") != new.get("topic"):
        text = f"topic {old.get('topic')} became {new.get('topic')}: queues are bound to the one, it goes to the other"
        yield Change("", "topic-changed", BOTH, text)
    if old.get("kind") != new.get("kind"):
        text = f"{old.get('kind')} became {new.get('kind')}, which is part of the routing key that queues are bound by"
        yield Change("", "kind-changed", BOTH, text)
