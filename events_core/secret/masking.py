"""Copies of what holds secrets, in which they are masked: of data as it is on the wire, and of events themselves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from events_core.secret.fields import ClassSchema, secret_fields
from events_core.secret.marker import MASK
from events_core.secret.revealing import Schema, is_secret

_LISTS = frozenset({"list", "set", "frozenset", "generator", "tuple"})
_OBJECTS = frozenset({"model-fields", "dataclass-args", "typed-dict", "dict"})


def masked(event_class: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """A copy of an event's data, as it is on the wire, with ``***`` in the place of each secret value.

    So is a field that the class does not know (unless it allows any): a newer release may call it secret. Data that
    does not fit the class is masked where a secret was to be.
    """
    schema = ClassSchema(event_class)
    found = _Masking(schema, lambda value: MASK).fields(schema.fields, data, event_class)
    return found if isinstance(found, dict) else {}


def secret_values(event_class: type[BaseModel], data: Any) -> list[Any]:
    """The secret values in an event's data, or in an event, as they stand there."""
    found: list[Any] = []

    def keep(value: Any) -> str:
        found.append(value)
        return MASK

    schema = ClassSchema(event_class)
    masking = _Masking(schema, keep)
    if isinstance(data, BaseModel):
        masking.instance(data)
    else:
        masking.fields(schema.fields, data, None)
    return found


def shown_fields(model: BaseModel) -> dict[str, Any]:
    """The fields of a model that its repr must not show as they are, and what it shows instead."""
    return _Masking(None, lambda _: MASK).changes(model)


class _Masking:
    """schema: where references lead. replace: called with each secret value, gives what stands in its place."""

    def __init__(self, schema: ClassSchema | None, replace: Callable[[Any], Any]) -> None:
        self._schema = schema
        self._replace = replace

    def value(self, schema: Schema | None, value: Any) -> Any:
        """The value, masked; schema None: nothing is known of it but what it is."""
        if schema is None or self._schema is None:
            return self._unknown(value)
        for part in self._schema.through(schema):
            if is_secret(part):
                return self._replace(value)
            if part["type"] == "nullable" and value is None:
                return None
        if isinstance(value, BaseModel):
            return self.instance(value)
        if not self._schema.holds(schema):
            return self._unknown(value)
        through = self._schema.through(schema)
        if any("serialization" in part for part in through) and not _is_instance(value):
            return self._replace(value)  # written in a way of its own, which tells nothing of what is where
        return self._inner(through, value)

    def instance(self, model: BaseModel) -> BaseModel:
        """A model that is the same but for its secrets."""
        changes = self.changes(model)
        return model.model_copy(update=changes) if changes else model

    def changes(self, model: BaseModel) -> dict[str, Any]:
        """Those of its fields that differ then."""
        own = ClassSchema(type(model)) if secret_fields(type(model)) else None
        fields = {} if own is None else own.fields
        masking = _Masking(own, self._replace)
        pairs = [(name, value, masking.value(fields.get(name), value)) for name, value in vars(model).items()]
        return {name: made for name, value, made in pairs if made is not value}

    def fields(self, fields: dict[str, Schema], data: Any, cls: type[BaseModel] | None) -> Any:
        """An object with these fields. cls: whose they are; unknown ones are masked, unless it allows them."""
        if not isinstance(data, dict):
            return self._replace(data)
        allows = cls is None or cls.model_config.get("extra") == "allow"
        return {
            name: self.value(fields[name], value) if name in fields else self._unknown(value) if allows else MASK
            for name, value in data.items()
        }

    def _inner(self, through: list[Schema], value: Any) -> Any:
        inner = through[-1]
        kind = inner["type"]
        if kind in ("model-fields", "typed-dict"):
            cls = next((part["cls"] for part in reversed(through) if part["type"] == "model"), None)
            return self.fields({name: field["schema"] for name, field in inner["fields"].items()}, value, cls)
        if kind == "dataclass-args":
            return self._dataclass({field["name"]: field["schema"] for field in inner["fields"]}, value)
        if kind == "dict" and isinstance(value, dict) and not self._holds(inner.get("keys_schema")):
            return {key: self.value(inner.get("values_schema"), one) for key, one in value.items()}
        if kind in _LISTS and isinstance(value, list | tuple | set | frozenset):
            return self._items(inner, value)
        if kind in ("union", "tagged-union"):
            return self._one_of(list(_choices(inner)), value)
        return self._replace(value)

    def _items(self, schema: Schema, value: Any) -> Any:
        items = schema.get("items_schema")
        if isinstance(items, list):  # of a tuple: one for each place, or for all from some place on
            last = len(items) - 1
            made = [self.value(items[min(place, last)], one) for place, one in enumerate(value)]
            if any(self._holds(one) for one in items) and "variadic_item_index" in schema:
                return self._replace(value)
        else:
            made = [self.value(items, one) for one in value]
        return made if isinstance(value, list) else type(value)(made)

    def _one_of(self, choices: list[Schema], value: Any) -> Any:
        """By all alternatives that the value could be of: which one it was is not written down."""
        if value is None and any(choice["type"] == "none" for choice in choices):
            return None
        fitting = [choice for choice in choices if self._could_be(choice, value)]
        named = [choice for choice in fitting if isinstance(value, dict) and self._knows_all(choice, value)]
        holding = [choice for choice in named or fitting if self._holds(choice)]
        if not fitting:
            return self._replace(value)
        for choice in holding:
            value = self.value(choice, value)
        return value

    def _could_be(self, choice: Schema, value: Any) -> bool:
        kind = self._last(choice)["type"]
        if any(is_secret(part) for part in self._through(choice)) or _is_instance(value):
            return True
        if kind in _OBJECTS or kind in _LISTS:
            return isinstance(value, dict if kind in _OBJECTS else list | tuple | set | frozenset)
        return kind in ("union", "tagged-union", "any") or not isinstance(value, dict | list)

    def _knows_all(self, choice: Schema, value: dict[str, Any]) -> bool:
        fields = self._last(choice).get("fields", ())
        names = fields if isinstance(fields, dict) else {field.get("name") for field in fields}
        return set(value) <= set(names)

    def _dataclass(self, fields: dict[str, Schema], value: Any) -> Any:
        if not dataclasses.is_dataclass(value):
            return self.fields(fields, value, None)
        made = copy.copy(value)
        for name, schema in fields.items():
            object.__setattr__(made, name, self.value(schema, getattr(value, name, None)))  # it may be frozen
        return made

    def _unknown(self, value: Any) -> Any:
        """By what the value is: a model tells of itself."""
        if isinstance(value, BaseModel):
            return self.instance(value)
        if type(value) in (list, tuple, set, frozenset):
            made = [self._unknown(one) for one in value]
            return value if all(map(_same, made, value)) else type(value)(made)
        if type(value) is dict:
            changed = {key: self._unknown(one) for key, one in value.items()}
            return value if all(changed[key] is one for key, one in value.items()) else changed
        return value

    def _holds(self, schema: Schema | None) -> bool:
        return schema is not None and self._schema is not None and self._schema.holds(schema)

    def _through(self, schema: Schema) -> list[Schema]:
        return [schema] if self._schema is None else self._schema.through(schema)

    def _last(self, schema: Schema) -> Schema:
        return self._through(schema)[-1]


def _same(one: Any, other: Any) -> bool:
    return one is other


def _is_instance(value: Any) -> bool:
    return isinstance(value, BaseModel) or dataclasses.is_dataclass(value)


def _choices(schema: Schema) -> Iterator[Schema]:
    choices = schema["choices"]
    for choice in choices.values() if isinstance(choices, dict) else choices:
        yield choice[0] if isinstance(choice, tuple) else choice
