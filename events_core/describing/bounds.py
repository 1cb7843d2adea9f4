"""What has changed in the constraints of one kind of value: bounds, formats, patterns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from events_core.describing.change import Change, narrowed, not_judged, widened
from events_core.describing.walk import Schema

#: Upper and lower bounds on how many there are, and what they count.
_COUNTS = {
    "Length": "characters",
    "Items": "items",
    "Properties": "entries",
}
#: Each value of these stands for itself: of two, neither is known to allow what the other does.
_NAMED = ("format", "pattern", "contentMediaType", "contentEncoding")
KEYWORDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems", *_NAMED}
    | {f"{end}{what}" for end in ("min", "max") for what in _COUNTS}
)


def bound_changes(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    """What of the constraints is looser now, which breaks consumers, and tighter, which breaks producers."""
    for what, unit in _COUNTS.items():
        yield from _low(old.get(f"min{what}", 0), new.get(f"min{what}", 0), path, unit)
        yield from _high(old.get(f"max{what}", math.inf), new.get(f"max{what}", math.inf), path, unit)
    yield from _low(_lowest(old), _lowest(new), path)
    yield from _high(_highest(old), _highest(new), path)
    yield from _multiple(old.get("multipleOf"), new.get("multipleOf"), path)
    if bool(old.get("uniqueItems")) != bool(new.get("uniqueItems")):
        make, text = (narrowed, "no item twice now") if new.get("uniqueItems") else (widened, "items may repeat now")
        yield make(path, text)
    for keyword in _NAMED:
        yield from _named(keyword, old.get(keyword), new.get(keyword), path)


def _low(old: Any, new: Any, path: str, unit: str = "") -> Iterator[Change]:
    if old != new:
        make = widened if new < old else narrowed
        yield make(path, f"lower bound: {_told(old, unit, 'above')} became {_told(new, unit, 'above')}")


def _high(old: Any, new: Any, path: str, unit: str = "") -> Iterator[Change]:
    if old != new:
        make = widened if new > old else narrowed
        yield make(path, f"upper bound: {_told(old, unit, 'below')} became {_told(new, unit, 'below')}")


def _lowest(kind: Schema) -> tuple[float, int]:
    """The lower bound, and 1 where it does not count itself. A greater one is tighter."""
    least = (kind.get("minimum", -math.inf), 0)
    above = (kind.get("exclusiveMinimum", -math.inf), 1)
    found = max(least, above) if "exclusiveMinimum" in kind else least
    return (found[0] + 1, 0) if found[1] and _whole(kind, found[0]) else found


def _highest(kind: Schema) -> tuple[float, int]:
    """The upper bound, and -1 where it does not count itself. A smaller one is tighter."""
    most = (kind.get("maximum", math.inf), 0)
    below = (kind.get("exclusiveMaximum", math.inf), -1)
    found = min(most, below) if "exclusiveMaximum" in kind else most
    return (found[0] - 1, 0) if found[1] and _whole(kind, found[0]) else found


def _whole(kind: Schema, bound: float) -> bool:
    return kind.get("type") == "integer" and isinstance(bound, int)


def _told(bound: Any, unit: str, beyond: str) -> str:
    value, excluded = bound if isinstance(bound, tuple) else (bound, 0)
    if math.isinf(value) or (unit and value == 0):
        return "none"
    return f"{beyond} {value}" if excluded else f"{value} {unit}".rstrip()


def _multiple(old: Any, new: Any, path: str) -> Iterator[Change]:
    if old == new:
        return
    text = f"multiple of: {'none' if old is None else old} became {'none' if new is None else new}"
    if new is None or (old is not None and old % new == 0):
        yield widened(path, text)
    elif old is None or new % old == 0:
        yield narrowed(path, text)
    else:
        yield not_judged(path, text)


def _named(keyword: str, old: Any, new: Any, path: str) -> Iterator[Change]:
    if old == new:
        return
    if new is None:
        yield widened(path, f"{keyword} {old} removed")
    elif old is None:
        yield narrowed(path, f"{keyword} {new} added")
    else:
        yield not_judged(path, f"{keyword} {old} became {new}")
