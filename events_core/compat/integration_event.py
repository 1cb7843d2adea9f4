"""Integration events that are made from, and into, flat dicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from events_core.brokers.base import Received
from events_core.brokers.formats.flat import Flat
from events_core.catalog import path_from
from events_core.compat.naming import name_by_body
from events_core.envelope import Envelope, describe
from events_core.errors import InvalidEnvelope
from events_core.events import NotificationEvent

_NAMES = {"type": "event_type", "event_type": "event_type", "version": "version"}


class IntegrationEvent(NotificationEvent):
    """An event for other services of which the class body may tell `type` and `version`, with or without annotation.

    Raises DuplicateEventType where another class has the same type and version.
    """

    type: ClassVar[str]

    def __init_subclass__(cls, **keywords: Any) -> None:
        name_by_body(cls, _NAMES)
        super().__init_subclass__(**keywords)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        super().__pydantic_init_subclass__(**keywords)
        cls.type = cls.event_type

    def to_dict(self) -> dict[str, Any]:
        """``{"type", "version", ...fields}``, values as JSON has them, secrets readable; the format `flat`."""
        written: dict[str, Any] = from_json(Flat().encode(self, Envelope.of(self), ""))
        return written

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """The event of the class that `type` and `version` name, made newer by its upcasters; with an id of its own.

        `payload` stays as it is. Fields that the class does not know are refused, dropped or kept, as its `extra` says.

        Raises UnknownEventType and UnknownEventVersion for what is not defined here; InvalidEnvelope, which names
        fields but no values, for what does not fit its class.
        """
        try:
            envelope = Flat().decode(Received(to_json(payload)))
        except PydanticSerializationError as error:
            raise InvalidEnvelope(f"the dict holds what JSON cannot: {error}") from None
        if not envelope.version:
            raise InvalidEnvelope("the dict has no 'version': with 'type' it names the event's class")
        found, chain = path_from(envelope.type, envelope.version)
        if not issubclass(found, cls):
            raise InvalidEnvelope(f"{envelope.type!r} is a {found.__qualname__}, no {cls.__qualname__}")
        data = reduce(lambda older, upcast: upcast(older), chain, from_json(envelope.data))
        try:
            return found.model_validate_json(to_json(data), by_alias=False, by_name=True)
        except ValidationError as error:
            raise InvalidEnvelope(f"the dict does not fit {found.__qualname__}: {describe(error)}") from None
