"""Which fields of a class are secret, as its core schema tells."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from events_core.secret.revealing import Schema, is_secret, parts

_known: WeakKeyDictionary[type[BaseModel], frozenset[str]] = WeakKeyDictionary()


def secret_fields(cls: type[BaseModel]) -> frozenset[str]:
    """The fields of a model that are secret, or hold something that is, at any depth."""
    try:
        return _known[cls]
    except KeyError:
        schema = ClassSchema(cls)
        found = frozenset(name for name, field in schema.fields.items() if schema.holds(field))
        if cls.__pydantic_complete__:
            _known[cls] = found
        return found


def is_secret_path(cls: type[BaseModel], path: str) -> bool:
    """Whether a path such as ``"address.city"`` leads to, or through, a secret."""
    found: Any = cls
    for part in path.split("."):
        if not (isinstance(found, type) and issubclass(found, BaseModel)) or part not in secret_fields(found):
            return False
        schema = ClassSchema(found)
        found = found.model_fields[part].annotation
        if any(is_secret(inner) for inner in schema.through(schema.fields[part])):
            return True
    return True  # it ends at what holds a secret


class ClassSchema:
    """The core schema of a model, and where its references lead."""

    def __init__(self, cls: type[BaseModel]) -> None:
        if not cls.__pydantic_complete__:  # a type that was not defined yet when it was
            cls.model_rebuild(raise_errors=False)
        schema: Any = cls.__pydantic_core_schema__ if cls.__pydantic_complete__ else {"type": "any"}
        self._definitions: dict[str, Schema] = {}
        if schema["type"] == "definitions":
            self._definitions = {one["ref"]: one for one in schema["definitions"]}
            schema = schema["schema"]
        #: Of the class itself.
        self.root: Schema = schema

    @property
    def fields(self) -> dict[str, Schema]:
        """The schemas of its fields."""
        for part in self.through(self.root):
            if part.get("root_model"):
                return {"root": part["schema"]}
            if part["type"] == "model-fields":
                return {name: field["schema"] for name, field in part["fields"].items()}
        return {}

    def resolved(self, schema: Schema) -> Schema:
        """The schema itself in place of a reference to it."""
        while schema["type"] == "definition-ref" and schema["schema_ref"] in self._definitions:
            schema = self._definitions[schema["schema_ref"]]
        return schema

    def through(self, schema: Schema) -> list[Schema]:
        """The schema, and those that it only wraps, the outer ones first."""
        found = [schema]
        while (inner := self._wrapped(found[-1])) is not None:
            found.append(inner)
        return found

    def _wrapped(self, schema: Schema) -> Schema | None:
        if schema["type"] == "definition-ref":
            return self._definitions.get(schema["schema_ref"])
        inner: Schema | None = next((schema[key] for key in ("json_schema", "lax_schema") if key in schema), None)
        if inner is None and schema["type"] in _WRAPPERS:
            inner = schema["schema"]
        return inner

    def holds(self, schema: Schema) -> bool:
        """Whether it is a secret, or one stands somewhere within."""
        pending, seen = [schema], set[str]()
        while pending:
            for part in parts(pending.pop()):
                if is_secret(part):
                    return True
                reference = part.get("schema_ref")
                if isinstance(reference, str) and reference not in seen:
                    seen.add(reference)
                    pending.extend(filter(None, [self._definitions.get(reference)]))
        return False


#: Types of schemas that are about the value of the one schema within.
_WRAPPERS = frozenset(
    {"default", "nullable", "model", "dataclass", "function-before", "function-after", "function-wrap", "definitions"}
    | {"custom-error"}
)
