"""An event on its way: the envelope that deliveries carry, and how an event becomes one and comes back.

Format (JSON): ``{"id", "type", "version", "kind", "occurred_at", "correlation_id", "causation_id", "hops", "data"}``;
`data` holds the event's own fields, without its id and time. ``traceparent`` stands before it where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json
from uuid_utils import UUID

from events_core.catalog import path_from
from events_core.correlation import current_correlation_id
from events_core.errors import EventDefinitionError, InvalidEnvelope
from events_core.events import Event
from events_core.secret import REVEALED, secret_fields

_META = {"event_id", "occurred_at"}
_TEXT_OR_NONE = (str, type(None))
#: The version of this format, sent as the header `events-v`.
FORMAT_VERSION = 1


@dataclass(slots=True)
class Envelope:
    """One event on its way. `data` is its fields as JSON; `hops` counts the events that led to it.

    traceparent: W3C trace context, where someone traces.
    """

    id: str
    type: str
    version: int
    kind: str
    occurred_at: str
    correlation_id: str
    causation_id: str | None
    hops: int
    data: bytes = field(repr=False)
    traceparent: str | None = None

    @classmethod
    def of(cls, event: Event, cause: Envelope | None = None, traceparent: str | None = None) -> Envelope:
        """The envelope of `event`; `cause` is that of the event being handled, if any.

        Raises EventDefinitionError for a value that JSON cannot hold.
        """
        envelope = cls.without_data(event, cause)
        envelope.traceparent = traceparent
        try:
            envelope.data = event.__pydantic_serializer__.to_json(
                event, exclude=_META, by_alias=False, round_trip=True, context=REVEALED, warnings=False
            )  # warnings would quote values
        except PydanticSerializationError as error:
            secret = bool(secret_fields(type(event)))  # a serializer of the application's may quote a value
            reason = "a serializer failed; it may have quoted a secret" if secret else error
            raise EventDefinitionError(
                f"{event.event_type} {envelope.id} cannot be written as JSON ({reason}): give the field a type that "
                'can be; for bytes in a nested model set ser_json_bytes and val_json_bytes to "base64" there'
            ) from (None if secret else error)
        return envelope

    @classmethod
    def without_data(cls, event: Event, cause: Envelope | None = None) -> Envelope:
        """As `of`, but for its data: enough to be the cause of other events."""
        event_id = str(event.event_id)
        return cls(
            id=event_id,
            type=event.event_type,
            version=event.version,
            kind=event.event_kind,
            occurred_at=event.occurred_at.isoformat(),
            correlation_id=(current_correlation_id() or event_id) if cause is None else cause.correlation_id,
            causation_id=None if cause is None else cause.id,
            hops=0 if cause is None else cause.hops + 1,
            data=b"{}",
        )

    @classmethod
    def parse(cls, value: Any) -> Envelope:
        """The envelope in a decoded message. Raises InvalidEnvelope, which names what is wrong, not the values."""
        try:
            envelope = cls(
                value["id"],
                value["type"],
                value["version"],
                value["kind"],
                value["occurred_at"],
                value["correlation_id"],
                value["causation_id"],
                value["hops"],
                to_json(value["data"]),
                value.get("traceparent"),
            )
            if type(envelope.traceparent) not in _TEXT_OR_NONE:
                envelope.traceparent = None  # no reason to refuse an event
            UUID(envelope.id)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidEnvelope(_what_is_wrong(value)) from None
        if not (
            type(envelope.type) is str
            and type(envelope.version) is int
            and type(envelope.hops) is int
            and type(envelope.correlation_id) is str
            and type(value["data"]) is dict
        ):
            raise InvalidEnvelope(_what_is_wrong(value))
        return envelope

    def to_json(self) -> bytes:
        """The wire form."""
        head = to_json(
            {
                "id": self.id,
                "type": self.type,
                "version": self.version,
                "kind": self.kind,
                "occurred_at": self.occurred_at,
                "correlation_id": self.correlation_id,
                "causation_id": self.causation_id,
                "hops": self.hops,
            }
        )
        if self.traceparent is not None:
            head = head[:-1] + b',"traceparent":' + to_json(self.traceparent) + b"}"
        return head[:-1] + b',"data":' + self.data + b"}"

    def event(self) -> Event:
        """The event itself, made newer by its upcasters. Unknown fields are ignored: a rolling deploy adds some.

        Raises UnknownEventType, UnknownEventVersion, or InvalidEnvelope when an upcaster fails or the data does not
        fit the class.
        """
        cls, upcasters = path_from(self.type, self.version)
        data = self.data
        if upcasters:
            data = to_json(reduce(lambda older, upcast: upcast(older), upcasters, from_json(data)))
        own = to_json({"event_id": self.id, "occurred_at": self.occurred_at})
        document = own if data == b"{}" else data[:-1] + b"," + own[1:]
        try:
            return _validated(cls, document)
        except ValidationError as error:
            raise InvalidEnvelope(
                f"the data does not fit {self.type!r} version {cls.version}: {describe(error)}"
            ) from None

    @property
    def argsrepr(self) -> str:
        """How task lists show the delivery: the type and the beginning of the id, never the payload."""
        return f"{self.type} {self.id[:8]}…"


def _validated(cls: type[Event], document: bytes) -> Event:
    # By name only, as it was written: an alias may be another field's name.
    try:
        return cls.model_validate_json(document, by_alias=False, by_name=True)
    except ValidationError as error:
        if all(problem["type"] != "extra_forbidden" for problem in error.errors(include_url=False)):
            raise
    # This choice holds for nested models too, so it is not the first one: it would drop what one of them allows.
    extra: Literal["allow", "ignore"] = "allow" if cls.model_config.get("extra") == "allow" else "ignore"
    return cls.model_validate_json(document, extra=extra, by_alias=False, by_name=True)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "type": str,
    "version": int,
    "kind": str,
    "occurred_at": str,
    "correlation_id": str,
    "causation_id": (str, type(None)),
    "hops": int,
    "data": dict,
}


def _what_is_wrong(value: Any) -> str:
    if not isinstance(value, dict):
        return f"the message holds no envelope, but a {type(value).__name__}"
    missing = [name for name in _TYPES if name not in value]
    if missing:
        return f"the envelope lacks {', '.join(missing)}"
    wrong = [name for name, wanted in _TYPES.items() if not isinstance(value[name], wanted)]
    if wrong:
        return f"the envelope has values of a wrong type in {', '.join(wrong)}"
    return "the envelope's id is no UUID"


def describe(error: ValidationError) -> str:
    """A validation error without the values, which may be secret: where and why only."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['type']}" for problem in problems[:5])
