"""Events: immutable facts, as frozen pydantic models."""

from __future__ import annotations

import gc
import inspect
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast
from uuid import UUID
from weakref import WeakValueDictionary

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from events_core.errors import BindError, DuplicateEventType, EventDefinitionError
from events_core.ids import new_event_id
from events_core.secret import is_secret_path, reveal_secrets, shown_fields

#: Names the wire formats use beside the event's own fields.
RESERVED_FIELDS = frozenset({"event_id", "event_type", "event_kind", "event_timestamp", "version", "occurred_at"})
_META = frozenset({"event_id", "occurred_at"})
#: Where the base classes of replaced systems are.
_COMPAT = f"{__package__}.compat."
#: Class keywords of integration events.
_KEYWORDS = frozenset({"topic", "partition_key", "entity_key", "entity_version"})

#: Every event class that is alive, by (event_type, version). Weak: a class made in a function may go again.
defined: WeakValueDictionary[tuple[str, int], type[Event]] = WeakValueDictionary()


def _to_utc(value: datetime) -> datetime:
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _now() -> datetime:
    return datetime.now(UTC)


if TYPE_CHECKING:  # for whose readers it is pydantic's, which says what a constructor takes
    from pydantic._internal._model_construction import ModelMetaclass as _EventMeta
else:

    class _EventMeta(type(BaseModel)):
        """Tells of @dataclass on an event when the event is made; else it would miss arguments nobody knows of."""

        def __setattr__(cls, name: str, value: Any) -> None:
            if name == "__init__" and "__dataclass_fields__" in cls.__dict__:
                value = _refuse_dataclass
            super().__setattr__(name, value)


def _refuse_dataclass(self: Any, *args: Any, **values: Any) -> None:
    raise BindError(f"{type(self).__qualname__} is decorated with @dataclass: remove it, events are models already")


class Event(BaseModel, metaclass=_EventMeta):
    """Something that happened.

    Subclass `DomainEvent`, `NotificationEvent` or `ECSTEvent`, and declare the fields::

        class OrderPlaced(DomainEvent, event_type="order.placed", version=1):
            order_id: UUID

    Class keywords: `event_type` (default: the class name) and `version` (default 1) name the event on the wire;
    any pydantic setting may stand beside them, such as ``extra="ignore"`` (default: unknown fields are refused
    when constructing). Received events ignore unknown fields, so that a rolling deploy may add some.

    Secret fields (``Annotated[str, Secret]``, or SecretStr) are ``***`` in the event's repr and in JSON made of it;
    only its delivery carries the value. Errors of validation name the field and the reason, never the value.

    Raises EventDefinitionError for field names that the wire formats use, and for a SecretStr in a nested model, which
    would go out masked; DuplicateEventType when another class has the same type and version.
    """

    # JSON has neither bytes that are no text, nor infinity: both would be refused or lost on their way.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="strings",
    )

    event_type: ClassVar[str] = "Event"
    version: ClassVar[int] = 1
    #: How this kind of event is called on the wire.
    event_kind: ClassVar[str] = "event"

    event_id: UUID = Field(default_factory=partial(new_event_id, "Event"))
    occurred_at: Annotated[AwareDatetime, AfterValidator(_to_utc)] = Field(default_factory=_now)

    if TYPE_CHECKING:

        def publish(self, system: Any = None) -> None:
            """Emit it, by the only EventSystem of the process or by `system`; ``events.emit(event)`` says which.

            Raises ConfigurationError where there is none, or several; and as `EventSystem.emit`.
            """

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __init_subclass__(cls, **keywords: Any) -> None:
        # Before pydantic collects the fields: a refused name gets our message, not a warning about shadowing.
        for name, annotation in inspect.get_annotations(cls).items():
            if name in RESERVED_FIELDS and "ClassVar" not in str(annotation):
                hint = " (set it as a class keyword)" if name in ("event_type", "version") else ""
                raise EventDefinitionError(
                    f"{cls.__module__}.{cls.__qualname__}: the field name {name!r} is used by the wire format; "
                    f"choose another name{hint}"
                )
        # Each class has an id factory that knows its type: ids derived from a delivery depend on it.
        event_type = keywords.get("event_type", cls.__dict__.get("event_type", cls.__name__))
        cls.__annotations__ = {**inspect.get_annotations(cls), "event_id": UUID}
        cls.event_id = Field(default_factory=partial(new_event_id, str(event_type)))
        super().__init_subclass__()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            hidden = ValidationError.from_exception_data(
                type(self).__name__, [{"type": "frozen_instance", "loc": (name,), "input": None}], hide_input=True
            )
            hidden.add_note("an event is a fact and stays as it is: make another event, with all its values")
            raise hidden from error.__cause__

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        hidden = shown_fields(self)
        return [(name, hidden.get(name or "", value)) for name, value in super().__repr_args__()]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        where = f"{cls.__module__}.{cls.__qualname__}"
        reveal_secrets(cast("dict[str, Any]", schema), cast("Any", handler.resolve_ref_schema), where)
        return schema

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        own = cls.__dict__
        cls.event_type = keywords.get("event_type", own.get("event_type", cls.__name__))
        cls.version = keywords.get("version", own.get("version", 1))
        _check_definition(cls)
        _remember(cls)


def _publish(event: Event, system: Any = None) -> None:
    """Emit the event by the only EventSystem of the process; as `events_core.compat.publish_event`."""
    import_module("events_core.compat").publish_event(event, system)


class _OnInstances:
    """A method that the class itself does not show, so that events may have a field of its name."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: Any = None) -> MethodType:
        if instance is None:
            raise AttributeError(self._function.__name__)
        return MethodType(self._function, instance)


if not TYPE_CHECKING:
    Event.publish = _OnInstances(_publish)


def _check_definition(cls: type[Event]) -> None:
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not isinstance(cls.event_type, str) or not 1 <= len(cls.event_type.encode(errors="replace")) <= 200:
        raise EventDefinitionError(f"{where}: event_type must be a text of 1 to 200 bytes")
    if any(character.isspace() or character in "*?[]" or not character.isprintable() for character in cls.event_type):
        raise EventDefinitionError(f"{where}: event_type {cls.event_type!r} has blanks or pattern characters")
    if not isinstance(cls.version, int) or isinstance(cls.version, bool) or cls.version < 1:
        raise EventDefinitionError(f"{where}: version must be a whole number from 1 on, not {cls.version!r}")
    if not cls.model_config.get("frozen"):
        raise EventDefinitionError(f"{where}: an event is a fact and stays as it is: remove frozen=False")


def _remember(cls: type[Event]) -> None:
    if cls.__module__ == __name__ or cls.__module__.startswith(_COMPAT):  # bases, which are not emitted themselves
        return
    key = (cls.event_type, cls.version)
    known = defined.get(key)
    if known is not None and not _same_place(known, cls):
        del known
        gc.collect()  # a class that only its own reference cycle keeps is no rival
        known = defined.get(key)
        if known is not None:
            raise DuplicateEventType(
                f"{known.__module__}.{known.__qualname__} and {cls.__module__}.{cls.__qualname__} both claim "
                f"event_type {cls.event_type!r} version {cls.version}: give one another event_type or version"
            )
    defined[key] = cls


def _same_place(known: type[Event], cls: type[Event]) -> bool:
    """The module was loaded anew (reload, notebook): the newer definition counts."""
    return known.__module__ == cls.__module__ and known.__qualname__ == cls.__qualname__


class DomainEvent(Event):
    """An event for this application's own handlers."""

    event_kind: ClassVar[str] = "domain_event"


def _check_names_field(cls: type[Event], keyword: str) -> None:
    name = getattr(cls, keyword)
    own = [field for field in cls.model_fields if field not in _META]
    if name is not None and name not in own:
        raise EventDefinitionError(
            f"{cls.__module__}.{cls.__qualname__}: {keyword}={name!r} must name one of its fields "
            f"({', '.join(own) or 'it has none'})"
        )
    if name is not None and is_secret_path(cls, name):
        raise EventDefinitionError(
            f"{cls.__module__}.{cls.__qualname__}: {keyword}={name!r} names a secret field, which others would see: "
            "name another one, such as an id"
        )


def _is_topic(name: Any) -> bool:
    return (
        isinstance(name, str) and bool(re.fullmatch(r"[^\s*#]+", name)) and len(name.encode("utf-8", "replace")) <= 200
    )


class IntegrationEvent(Event):
    """An event for other services.

    Class keywords beside those of `Event`: `topic` names its exchange (default: the system's name); `partition_key`
    names the field by which brokers with partitions keep events together, and in order.

    Raises EventDefinitionError for a keyword that names no field, and for a field that has the name of a keyword.
    """

    topic: ClassVar[str | None] = None
    partition_key: ClassVar[str | None] = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        for name, annotation in inspect.get_annotations(cls).items():
            if name in _KEYWORDS and "ClassVar" not in str(annotation):  # it would have the class's value as default
                raise EventDefinitionError(
                    f"{cls.__module__}.{cls.__qualname__}: the field name {name!r} is that of a class keyword; choose "
                    "another name"
                )
        super().__init_subclass__(**keywords)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        for keyword in _KEYWORDS & keywords.keys():
            if not hasattr(cls, keyword):
                raise EventDefinitionError(f"{cls.__module__}.{cls.__qualname__}: {keyword}= is for an ECSTEvent")
            setattr(cls, keyword, keywords[keyword])
        super().__pydantic_init_subclass__(**keywords)
        if cls.topic is not None and not _is_topic(cls.topic):
            raise EventDefinitionError(
                f"{cls.__module__}.{cls.__qualname__}: topic must be a text of 1 to 200 bytes, without blanks, * and #"
            )
        _check_names_field(cls, "partition_key")


class NotificationEvent(IntegrationEvent):
    """Tells other services that something happened; they ask back for the details."""

    event_kind: ClassVar[str] = "notification_event"


class ECSTEvent(IntegrationEvent):
    """Event-carried state transfer: carries the new state of an entity itself.

    Class keywords beside those of `IntegrationEvent`: `entity_key` names the field that tells one entity from another,
    and is the `partition_key` where no other is given; `entity_version` names an int field that grows by one with each
    change of the entity::

        class CustomerChanged(ECSTEvent, topic="crm", entity_key="customer_id", entity_version="revision"):
            customer_id: UUID
            revision: int
    """

    event_kind: ClassVar[str] = "ecst_event"
    entity_key: ClassVar[str | None] = None
    entity_version: ClassVar[str | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        super().__pydantic_init_subclass__(**keywords)
        _check_names_field(cls, "entity_key")
        _check_names_field(cls, "entity_version")
        if cls.entity_version is not None and cls.model_fields[cls.entity_version].annotation is not int:
            raise EventDefinitionError(
                f"{cls.__module__}.{cls.__qualname__}: entity_version={cls.entity_version!r} must name an int field, "
                "by which one tells what is newer"
            )
        if "entity_key" in keywords and "partition_key" not in keywords:
            cls.partition_key = cls.entity_key
