"""JSON Schema of draft 2020-12 in the words of draft 07, of which AsyncAPI's Schema Object is a superset."""

from __future__ import annotations

from typing import Any

from events_core.describing.walk import Schema, rewritten

#: AsyncAPI has another keyword of that name; draft 07 has none for the content of a text.
_LEFT_OUT = ("discriminator", "contentSchema")


def draft07(schema: Schema) -> Schema:
    """What pydantic writes, for a reader that knows draft 07 only. References stay as they are."""
    made: Schema = rewritten(schema, _older)
    return made


def _older(schema: Schema) -> Schema:
    made: dict[str, Any] = {keyword: value for keyword, value in schema.items() if keyword not in _LEFT_OUT}
    if "prefixItems" in made:
        rest = made.get("items")
        made["items"] = made.pop("prefixItems")
        if rest is not None:
            made["additionalItems"] = rest
    if "$ref" in made and len(made) > 1:  # draft 07 ignores what stands beside a reference
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return made
