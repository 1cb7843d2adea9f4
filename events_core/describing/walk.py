"""Where in a JSON Schema there are schemas again: the keywords of draft 2020-12 that pydantic writes, and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

#: Keywords that hold one schema.
ONE = frozenset(
    {"additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
#: Keywords that hold a list of schemas.
SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
#: Keywords that hold schemas by name.
NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


def rewritten(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """The schema with `change` applied to it and to every schema within, the inner ones first."""
    if not isinstance(schema, dict):
        return schema  # true and false are schemas too
    made: Schema = {}
    for keyword, value in schema.items():
        if keyword in ONE:
            made[keyword] = rewritten(value, change)
        elif keyword in SEVERAL:
            made[keyword] = [rewritten(part, change) for part in value]
        elif keyword in NAMED:
            made[keyword] = {name: rewritten(part, change) for name, part in value.items()}
        else:
            made[keyword] = value
    return change(made)
