"""A JSON Schema as the alternatives that it allows: single values, and kinds of values with their constraints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from events_core.describing.walk import Schema

#: Keywords that say nothing of which values are allowed.
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated", "readOnly"}
    | {"writeOnly", "discriminator", "definitions"}
)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "string": str,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "array": list,
}
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
}


@dataclass(slots=True)
class Shape:
    """values: allowed one by one. kinds: schemas of one type each; one without a type allows anything."""

    values: list[Any] = field(default_factory=list)
    kinds: list[Schema] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether it allows every value there is."""
        return any(not constraints(kind) and "type" not in kind for kind in self.kinds)

    def allows(self, value: Any) -> bool:
        """Whether it surely allows this value."""
        return any(same(value, other) for other in self.values) or any(_fits(value, kind) for kind in self.kinds)


def shape_of(schema: Any, root: Schema) -> Shape:
    """root: the document in which references lead somewhere. Raises ValueError for one that leads nowhere."""
    shape = Shape()
    for part in _alternatives(schema, root, ()):
        if "const" in part or "enum" in part:
            given = part["enum"] if "enum" in part else [part["const"]]
            shape.values += [v for v in given if not any(same(v, other) for other in shape.values)]
        elif part.get("type") == "null":
            shape.values += [] if any(v is None for v in shape.values) else [None]
        else:
            shape.kinds.append(part)
    return shape


def constraints(kind: Schema) -> Schema:
    """What it says beyond its type."""
    return {
        k: v
        for k, v in kind.items()
        # a password is any text: the format only says that it is secret
        if k not in ANNOTATIONS and k != "type" and not k.startswith("x-") and (k, v) != ("format", "password")
    }


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _alternatives(schema: Any, root: Schema, seen: tuple[str, ...]) -> list[Schema]:
    if schema is False:
        return []
    if schema is True:
        return [{}]
    if "$ref" in schema:
        reference = schema["$ref"]
        if reference in seen:  # a definition that is nothing but itself
            return [{}]
        beside = {k: v for k, v in schema.items() if k != "$ref"}
        return _alternatives({**_target(reference, root), **beside}, root, (*seen, reference))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            beside = {k: v for k, v in schema.items() if k != keyword and k not in ANNOTATIONS}
            return [
                found
                for part in schema[keyword]
                for found in _alternatives({**part, **beside} if isinstance(part, dict) else part, root, seen)
            ]
    if len(schema.get("allOf", ())) == 1:
        beside = {k: v for k, v in schema.items() if k != "allOf"}
        return _alternatives({**schema["allOf"][0], **beside}, root, seen)
    if isinstance(schema.get("type"), list):
        return [found for name in schema["type"] for found in _alternatives({**schema, "type": name}, root, seen)]
    return [schema]


def _target(reference: str, root: Schema) -> Schema:
    found: Any = root
    try:
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found[part.replace("~1", "/").replace("~0", "~")]
    except (KeyError, TypeError):
        raise ValueError(f"the reference {reference!r} leads nowhere in the schema {root.get('title', '')}") from None
    return {} if found is True else {"enum": []} if found is False else found


def _fits(value: Any, kind: Schema) -> bool:
    """Whether a single value is surely one of this kind."""
    if "type" in kind:
        wanted = _TYPES.get(kind["type"], ())
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            return False
    given = constraints(kind)
    if not given.keys() <= _BOUNDS.keys() or ("type" not in kind and given):
        return False
    try:
        return all(_BOUNDS[keyword](value, bound) for keyword, bound in given.items())
    except re.error:
        return False
