"""JSON Schema (draft 2020-12) of an event's payload as it is on the wire: what `Envelope.of` writes as `data`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import PydanticSerializationError, core_schema

from events_core.catalog import upcasters
from events_core.describing.walk import Schema, rewritten
from events_core.errors import EventDefinitionError
from events_core.events import Event, IntegrationEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Which event a schema is of. Keywords that begin with ``x-`` are annotations, which validators pass over.
ABOUT = "x-event"
#: Of the fields that are always sent, those that a reader by our classes cannot do without: they have no default.
#: Left out where these are the fields under `required`.
NEEDED = "x-needed-to-read"
_OWN = ("event_id", "occurred_at")


class WireSchema(GenerateJsonSchema):
    """Schemas of what is written: by name and not by alias, every field, and no computed one."""

    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles that repeat the name."""
        return False

    def field_is_required(
        self, field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField, total: bool
    ) -> bool:
        """Whether it is always written: with a default too, for defaults are written as any other value."""
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None

    def model_fields_schema(self, schema: core_schema.ModelFieldsSchema) -> JsonSchemaValue:
        """As pydantic's, without computed fields, and with what a reader needs."""
        made = super().model_fields_schema({**schema, "computed_fields": []})
        needed = [name for name in made.get("properties", ()) if schema["fields"][name]["schema"]["type"] != "default"]
        return made if needed == made.get("required", []) else {**made, NEEDED: needed}

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchemaValue:
        """As pydantic's, without computed fields."""
        return super().dataclass_args_schema({**schema, "computed_fields": []})

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """As pydantic's, without computed fields."""
        return super().typed_dict_schema({**schema, "computed_fields": []})

    def json_schema(self, schema: core_schema.JsonSchema) -> JsonSchemaValue:
        """A field of the type `Json` is written as the text that it was read from."""
        content = self.generate_inner(schema.get("schema") or core_schema.any_schema())
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": content}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        """JSON has no number for these values; events write them as texts, unless the field refuses them."""
        made = super().float_schema(schema)
        as_texts = self._config.ser_json_inf_nan == "strings"
        if not as_texts or schema.get("allow_inf_nan", self._config.allow_inf_nan) is False:
            return made
        return {"anyOf": [made, {"enum": ["Infinity", "-Infinity", "NaN"]}]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """As pydantic's, without the default of a secret."""
        made = super().default_schema(schema)
        if made.get("writeOnly"):
            made.pop("default", None)
        return made

    def encode_default(self, dft: Any) -> Any:
        """A default as JSON, the same in every process: of a set sorted, and left out where a set is deeper within."""
        if isinstance(dft, set | frozenset):
            return sorted(super().encode_default(dft), key=json.dumps)
        if _holds_set(dft):
            raise PydanticSerializationError("the order of a set differs from process to process")
        return super().encode_default(dft)


def _holds_set(value: Any) -> bool:
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, set | frozenset) or (isinstance(value, list | tuple) and any(map(_holds_set, value)))


def payload_schemas(
    events: Sequence[type[Event]], template: str = "#/$defs/{model}"
) -> tuple[dict[type[Event], Schema], dict[str, Schema]]:
    """The schemas of events' fields as they are written, without their ids and times; and the models in them, by name.

    Fields that a schema does not name may come, from a newer producer: readers ignore them. template: of references.
    Raises EventDefinitionError for a type that JSON Schema cannot describe.
    """
    try:
        references, made = models_json_schema(
            [(event, "serialization") for event in events],
            by_alias=False,
            ref_template=template,
            schema_generator=WireSchema,
        )
    except PydanticInvalidForJsonSchema as error:
        for event in events if len(events) > 1 else ():
            payload_schemas([event])  # names the one
        raise EventDefinitionError(
            f"{events[0].__module__}.{events[0].__qualname__} has a field that JSON Schema cannot describe "
            f"({str(error).splitlines()[0]}): annotate its type with pydantic.WithJsonSchema({{...}})"
        ) from error
    models: dict[str, Schema] = {name: rewritten(model, _open) for name, model in made.get("$defs", {}).items()}
    names = {event: _name(references[event, "serialization"], template) for event in events}
    schemas = {event: _without(models[name], _OWN) for event, name in names.items()}
    used: dict[str, Schema] = {}
    for schema in schemas.values():
        _collect(schema, template, models, used)
    return schemas, {name: used[name] for name in sorted(used)}


def payload_schema(event: type[Event]) -> Schema:
    """The schema of one event's fields, with all that it refers to."""
    schemas, models = payload_schemas([event])
    return {**schemas[event], **({"$defs": models} if models else {})}


def document(event: type[Event], system: str) -> Schema:
    """`payload_schema` as a document of its own, which says whose it is. system: names the topic of events without."""
    about: Schema = {"type": event.event_type, "version": event.version, "kind": event.event_kind}
    if issubclass(event, IntegrationEvent):
        about["topic"] = event.topic or system
    if older := _made_newer(event):
        about["reads"] = older
    return {"$schema": DIALECT, ABOUT: about, **payload_schema(event)}


def _made_newer(event: type[Event]) -> list[int]:
    """The versions that upcasters make this one of."""
    known = {(upcaster.event_type, upcaster.from_version) for upcaster in upcasters()}
    first = event.version
    while (event.event_type, first - 1) in known:
        first -= 1
    return list(range(first, event.version))


def _name(reference: Schema, template: str) -> str:
    start, _, end = template.partition("{model}")
    name: str = reference["$ref"].removeprefix(start).removesuffix(end)
    return name


def _collect(schema: Schema, template: str, models: dict[str, Schema], used: dict[str, Schema]) -> None:
    """Put into `used` what the schema refers to."""

    def follow(part: Schema) -> Schema:
        if "$ref" in part and (name := _name(part, template)) not in used:
            used[name] = models[name]
            rewritten(models[name], follow)
        return part

    rewritten(schema, follow)


def _without(schema: Schema, names: Iterable[str]) -> Schema:
    made = dict(schema)
    made["properties"] = {name: part for name, part in schema["properties"].items() if name not in names}
    for keyword in ("required", NEEDED):
        if keyword in made:
            made[keyword] = [name for name in made[keyword] if name not in names]
    if made.get(NEEDED) == made.get("required"):
        made.pop(NEEDED, None)
    return made


def _open(schema: Schema) -> Schema:
    """What the class refuses when constructing, a reader of the wire ignores."""
    if schema.get("additionalProperties") is not False:
        return schema
    return {keyword: value for keyword, value in schema.items() if keyword != "additionalProperties"}
