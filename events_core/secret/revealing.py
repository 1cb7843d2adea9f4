"""pydantic's own secrets, SecretStr and its kin, as fields of events: written as they are under REVEALED alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pydantic
from pydantic import SecretStr, SerializationInfo, TypeAdapter

from events_core.errors import EventDefinitionError
from events_core.secret.marker import MARK, MASK, REVEALED

Schema = dict[str, Any]
#: What finds the schema that a reference names.
Resolve = Callable[[Schema], Schema]

#: Models keep the serializer that they were built with, wherever they are nested.
_BUILT: Final = ("model", "dataclass")


def _write(value: Any, info: SerializationInfo) -> Any:
    """As pydantic does it, but for who may reveal them."""
    if not hasattr(value, "get_secret_value"):  # it was put into the model past its validation
        return value if info.context is REVEALED else MASK
    if info.context is REVEALED:
        return value.get_secret_value()
    return MASK if info.mode == "json" else value


def parts(schema: Any) -> Iterator[Schema]:
    """The schema and all that stands within it, the outer ones first; references are not followed."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from parts(value)


def _writer(schema: Schema) -> Any:
    """The function that writes the values of just this schema."""
    written = schema.get("serialization")
    return written.get("function") if isinstance(written, dict) else None


#: The functions by which pydantic writes its secrets.
_PYDANTIC: Final = {
    _writer(part)
    for kind in (SecretStr, pydantic.Secret[str])
    for part in parts(TypeAdapter(kind).core_schema)
    if _writer(part) is not None
}


def is_secret(schema: Schema) -> bool:
    """Whether this schema is that of a secret."""
    writer = _writer(schema)
    return MARK in schema.get("metadata", ()) or writer is _write or (writer is not None and writer in _PYDANTIC)


def reveal_secrets(schema: Schema, resolve: Resolve, event: str) -> None:
    """Let the pydantic secrets in an event's own fields be written under REVEALED. Changes the schema.

    resolve: finds the schema of a reference. event: the class, for people.
    Raises EventDefinitionError for such a secret in a nested model, which would go out masked.
    """
    own = next(part for part in parts(schema) if part.get("type") == "model-fields")
    for name, field in own["fields"].items():
        for part, nested in _secrets_within(field["schema"], resolve):
            if nested is not None:
                raise EventDefinitionError(
                    f"{event}: the field {name!r} has a pydantic secret in the nested {nested}, which would go out "
                    f"masked: annotate it as Annotated[str, Secret] in {nested} (from events_core.secret import Secret)"
                )
            part["serialization"] = {**part["serialization"], "function": _write}


def _secrets_within(schema: Schema, resolve: Resolve) -> list[tuple[Schema, str | None]]:
    """The schemas of pydantic's secrets, references followed, and the name of the model that each is in, if any."""
    found: list[tuple[Schema, str | None]] = []
    pending: list[tuple[Any, str | None]] = [(schema, None)]
    seen: set[str] = set()
    while pending:
        here, nested = pending.pop()
        if isinstance(here, list | tuple):
            pending.extend((value, nested) for value in here)
        elif isinstance(here, dict):
            kind = here.get("type")
            if kind == "definition-ref":
                if here["schema_ref"] not in seen:
                    seen.add(here["schema_ref"])
                    pending.extend((one, nested) for one in _resolved(here, resolve))
            elif kind in _BUILT:
                nested = here["cls"].__qualname__
            if "serialization" in here and _writer(here) in _PYDANTIC:
                found.append((here, nested))
            pending.extend((value, nested) for value in here.values() if isinstance(value, dict | list | tuple))
    return found


def _resolved(reference: Schema, resolve: Resolve) -> list[Schema]:
    try:
        return [resolve(reference)]
    except LookupError:  # of the class itself, which is being made
        return []
