"""What has changed between two schemas of one event, and whom each change breaks.

Two questions are asked of every part. Does the old schema allow whatever the new one does? If not, consumers that know
the old one meet what they do not expect. And the other way round: does the new one allow whatever the old one does?
If not, new consumers refuse what was written by the old one. What cannot be judged counts as breaking both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from events_core.describing.bounds import KEYWORDS, bound_changes
from events_core.describing.change import BOTH, CONSUMERS, NOBODY, PRODUCERS, Change, narrowed, not_judged, widened
from events_core.describing.fields import field_changes
from events_core.describing.shape import Shape, constraints, same, shape_of
from events_core.describing.walk import Schema

_STRUCTURE = frozenset({"properties", "required", "additionalProperties", "items", "prefixItems", "enum", "const"})
_MAPS = ("patternProperties", "propertyNames")


class Comparison:
    """Of two documents. References that lead back to where we are add nothing new."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._within: list[tuple[str, str]] = []

    def changes(self) -> list[Change]:
        """All changes, in the order of the new schema's fields."""
        return list(dict.fromkeys(self.between(self._old, self._new, "")))

    def between(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        """What has changed between two schemas in the two documents."""
        here = (_place(old), _place(new))
        if here in self._within:
            return
        self._within.append(here)
        try:
            # to its end before we leave: a generator that waits would leave its place behind
            found = list(self._between(shape_of(old, self._old), shape_of(new, self._new), path))
        finally:
            self._within.pop()
        yield from found

    def _between(self, old: Shape, new: Shape, path: str) -> Iterator[Change]:
        if old.anything and new.anything:
            return
        added = [value for value in new.values if not old.allows(value)]
        removed = [value for value in old.values if not new.allows(value)]
        pairs, gone, come = self._paired(old, new)
        if self._is_another(old, new, bool(pairs)):
            yield Change(path, "type-changed", BOTH, f"{_named(old)} became {_named(new)}")
            return
        yield from (Change(path, "value-added", CONSUMERS, f"may be {_value(value)} now") for value in added)
        yield from (Change(path, "value-removed", PRODUCERS, f"may be {_value(v)} no more") for v in removed)
        for one, other in pairs:
            yield from self._kinds(one, other, path)
        yield from (widened(path, f"may be {_kind(kind)} now") for kind in come)
        yield from (narrowed(path, f"may be {_kind(kind)} no more") for kind in gone)

    def _is_another(self, old: Shape, new: Shape, some_stayed: bool) -> bool:
        """Whether nothing of it has stayed, but for null."""
        nothing = [v for v in old.values if v is not None and new.allows(v)]
        nothing += [v for v in new.values if v is not None and old.allows(v)]
        solid = [any(v is not None for v in shape.values) or bool(shape.kinds) for shape in (old, new)]
        only_values = not old.kinds and not new.kinds
        return all(solid) and not nothing and not some_stayed and not only_values

    def _paired(self, old: Shape, new: Shape) -> tuple[list[tuple[Schema, Schema]], list[Schema], list[Schema]]:
        """Kinds of old and new that belong together; those that nothing new allows; those that nothing old allowed."""
        if len(old.kinds) == len(new.kinds) == 1 and _related(old.kinds[0], new.kinds[0]):
            return [(old.kinds[0], new.kinds[0])], [], []
        gone, come = list(old.kinds), list(new.kinds)
        pairs: list[tuple[Schema, Schema]] = []
        for alike in (self._equal, _same_tag, _same_title, _same_type):
            for one in list(gone):
                match = next((other for other in come if _related(one, other) and alike(one, other)), None)
                if match is not None:
                    pairs.append((one, match))
                    gone = [kind for kind in gone if kind is not one]
                    come = [kind for kind in come if kind is not match]
        come = [kind for kind in come if not self._allowed(kind, old.kinds, "consumers")]
        gone = [kind for kind in gone if not self._allowed(kind, new.kinds, "producers")]
        return pairs, gone, come

    def _equal(self, old: Schema, new: Schema) -> bool:
        return not any(True for _ in self._kinds(old, new, ""))

    def _allowed(self, kind: Schema, by: list[Schema], party: str) -> bool:
        """Whether one of the kinds on the other side allows all that this one does."""
        sides = ((other, kind) if party == "consumers" else (kind, other) for other in by)
        return any(
            not any(party in change.breaks for change in self._kinds(old, new, ""))
            for old, new in sides
            if _related(old, new)
        )

    def _kinds(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        """What has changed between two schemas that each have one type, or none."""
        breaks = _type_changes(old, new)
        if breaks is None or breaks:
            text = f"{_kind(old)} became {_kind(new)}"
            yield Change(path, "type-changed", BOTH if breaks is None else breaks, text)
        if breaks is None:
            return
        yield from bound_changes(old, new, path)
        yield from field_changes(self, old, new, path)
        yield from self._items(old, new, path)
        for keyword in sorted({*constraints(old), *constraints(new)} - KEYWORDS - _STRUCTURE - {*_MAPS}):
            if not same(old.get(keyword), new.get(keyword)):
                yield not_judged(path, f"{keyword} changed, which cannot be judged")

    def _items(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        for at in range(max(len(before), len(after))):
            one = before[at] if at < len(before) else _rest(old)
            other = after[at] if at < len(after) else _rest(new)
            if one is not False and other is not False:  # their number is a bound, compared as such
                yield from self.between(one, other, f"{path}[{at}]")
        if _rest(old) is not False and _rest(new) is not False:
            yield from self.between(_rest(old), _rest(new), f"{path}[]")


def _rest(kind: Schema) -> Any:
    """What items beyond those of `prefixItems` may be; False where there are none."""
    return kind.get("items", True) if kind.get("maxItems", math.inf) > len(kind.get("prefixItems", ())) else False


def _type_changes(old: Schema, new: Schema) -> tuple[Any, ...] | None:
    """Whom a change of the type breaks; None where the two have nothing to do with each other."""
    one, other = old.get("type"), new.get("type")
    if one == other:
        return NOBODY
    if (one, other) == ("integer", "number") or other is None:
        return CONSUMERS
    if (one, other) == ("number", "integer") or one is None:
        return PRODUCERS
    return None


def _related(old: Schema, new: Schema) -> bool:
    return _type_changes(old, new) is not None


def _same_tag(old: Schema, new: Schema) -> bool:
    return not _tags(old).isdisjoint(_tags(new))


def _same_title(old: Schema, new: Schema) -> bool:
    return "title" in old and old["title"] == new.get("title")


def _same_type(old: Schema, new: Schema) -> bool:
    """Models that have other tags are not each other."""
    return not (_tags(old) and _tags(new))


def _tags(kind: Schema) -> set[str]:
    """The fixed values by which a model is told from its siblings."""
    return {
        f"{name}={value}"
        for name, part in kind.get("properties", {}).items()
        if isinstance(part, dict)
        for value in (part["enum"] if "enum" in part else [part["const"]] if "const" in part else [])
    }


def _place(schema: Any) -> str:
    return schema["$ref"] if isinstance(schema, dict) and "$ref" in schema else f"at {id(schema)}"


def _named(shape: Shape) -> str:
    return " or ".join([*map(_kind, shape.kinds), *map(_value, shape.values)]) or "nothing"


def _kind(kind: Schema) -> str:
    name = kind.get("type", "anything")
    title = kind.get("title") or kind.get("format")
    return f"{name} ({title})" if title else str(name)


def _value(value: Any) -> str:
    return "null" if value is None else repr(value)
