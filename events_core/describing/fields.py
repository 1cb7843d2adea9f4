"""What has changed in the fields of an object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from events_core.describing.change import CONSUMERS, NOBODY, PRODUCERS, Change, not_judged
from events_core.describing.json_schema import NEEDED
from events_core.describing.shape import same
from events_core.describing.walk import Schema


class Comparing(Protocol):
    """`Comparison`, as far as it is needed here."""

    def between(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        """What has changed between two schemas."""
        ...


def field_changes(comparing: Comparing, old: Schema, new: Schema, path: str) -> Iterator[Change]:
    """Added, removed and changed fields, and what fields without a name may hold."""
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in [*after, *(name for name in before if name not in after)]:
        place = f"{path}.{name}" if path else name
        if name not in before:
            yield from _added(comparing, name, old, new, place)
        elif name not in after:
            yield _removed(name, old, place)
        else:
            yield from _presence(name, old, new, place)
            yield from comparing.between(before[name], after[name], place)
    yield from _others(comparing, old, new, path)


def _added(comparing: Comparing, name: str, old: Schema, new: Schema, place: str) -> Iterator[Change]:
    if name in _needed(new):
        text = "added, and has no default: what was written before lacks it"
        yield Change(place, "field-added", PRODUCERS, text)
    else:
        yield Change(place, "field-added", NOBODY, "added")
    # Where old fields had no names, this may be one of them
    allowed = old.get("additionalProperties", True)
    yield from (c for c in comparing.between(allowed, new["properties"][name], place) if "consumers" in c.breaks)


def _removed(name: str, old: Schema, place: str) -> Change:
    always = name in old.get("required", ())
    text = "removed" if always else "removed; it was not always sent before"
    return Change(place, "field-removed", CONSUMERS if always else NOBODY, text)


def _presence(name: str, old: Schema, new: Schema, place: str) -> Iterator[Change]:
    before, after = name in old.get("required", ()), name in new.get("required", ())
    if before and not after:
        yield Change(place, "no-longer-always-sent", CONSUMERS, "was always sent, and is not any more")
    elif after and not before:
        breaks = PRODUCERS if name in _needed(new) else NOBODY
        yield Change(place, "now-always-sent", breaks, "is always sent now, and was not before")


def _needed(schema: Schema) -> list[str]:
    found: list[str] = schema[NEEDED] if NEEDED in schema else schema.get("required", [])
    return found


def _others(comparing: Comparing, old: Schema, new: Schema, path: str) -> Iterator[Change]:
    """Dictionaries: fields that have no names of their own."""
    before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if before is not after:
        yield from comparing.between(before, after, f"{path}{{}}")
    keys = old.get("propertyNames", True), new.get("propertyNames", True)
    if keys != (True, True):
        yield from comparing.between(*keys, f"{path}{{key}}")
    patterns = old.get("patternProperties", {}), new.get("patternProperties", {})
    for pattern in sorted({*patterns[0], *patterns[1]}):
        if pattern in patterns[0] and pattern in patterns[1]:
            yield from comparing.between(patterns[0][pattern], patterns[1][pattern], f"{path}{{{pattern}}}")
    if not same(sorted(patterns[0]), sorted(patterns[1])):
        yield not_judged(path, "the patterns of its keys changed")
