"""The marker of secret fields, and who may write their values."""

from __future__ import annotations

from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo, SerializerFunctionWrapHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

#: What stands in the place of a secret value.
MASK: Final = "***"
#: In the metadata of a secret's core schema.
MARK: Final = "events_core_secret"
#: The serialization context under which secrets are written as they are: that of `Envelope.of`, and of nobody else.
REVEALED: Final = object()


class Secret:
    """Marks a field of an event, or of a model within one, as secret: ``token: Annotated[str, Secret]``.

    The value stays what it is: a handler reads `event.token`. It is ``***`` in the event's repr, in JSON that is made
    of it (`model_dump_json`, `model_dump(mode="json")`), in errors of handlers, in what `events` commands print. Any
    type can be marked, also items of a list, values of a dict and whole models. It is marked ``writeOnly`` in schemas.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The type's own schema, with the mark, and a serializer that hides the value."""
        schema: Any = handler(source)
        own = {"schema": schema} if "serialization" in schema else {}
        written = core_schema.wrap_serializer_function_ser_schema(_write, info_arg=True, when_used="json", **own)
        return {**schema, "serialization": written, "metadata": {**schema.get("metadata", {}), MARK: True}}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Says that the value is not to be shown."""
        made = {**handler(schema), "writeOnly": True}
        return {"format": "password", **made} if made.get("type") == "string" else made


def _write(value: Any, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    return handler(value) if info.context is REVEALED else MASK
