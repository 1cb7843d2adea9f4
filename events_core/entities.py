"""Entity and AggregateRoot: they record what happened to them, until it is collected and emitted.

The recorded events are kept beside the entity, and not in it: that works for classes that run no ``__init__`` (rows
loaded from a database), have no ``__dict__`` (slots) or cannot be changed (frozen), and copies share nothing.
"""

from __future__ import annotations

import dataclasses
import typing
import weakref
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from events_core.errors import NotAnEvent
from events_core.events import Event
from events_core.recorded_events import RecordedEvents


class Entity:
    """A mixin for domain objects that record events; for any class, before or after its other bases.

    Dataclasses (with slots or frozen, too), pydantic, SQLAlchemy and Django models. It needs no ``__init__``, and shows
    in no field, comparison, repr or dump; a copied, unpickled or reloaded entity has no events.
    """

    __slots__ = ("__weakref__",)

    def add_event(self, event: Event) -> None:
        """Record an event, to be emitted when the change of the entity is saved. Raises NotAnEvent."""
        _check_event(self, event)
        _recorded.add(self, event)

    def collect_events(self) -> list[Event]:
        """Hand out what was recorded, first in, first out; a second call returns nothing.

        They are gone for good once they are emitted. Where emitting them fails, the entity has them again, in order.
        """
        return _recorded.hand_out(self)

    def _recorded_events(self) -> tuple[Event, ...]:
        return _recorded.pending(self)

    def _forget_events(self, events: Iterable[Event]) -> None:
        _recorded.discard(self, events)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As a field of a model: the same object, not a copy, which is never written as JSON."""
        if issubclass(cls, BaseModel) or "__is_pydantic_dataclass__" in cls.__dict__:
            return handler(source)
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(_refuse_json, when_used="json")
        )


class AggregateRoot(Entity):
    """An `Entity`, in the words of ACherryJam/events."""

    __slots__ = ()

    def publish_event(self, event: Event) -> None:
        """As `add_event`."""
        self.add_event(event)

    def pop_events(self) -> list[Event]:
        """As `collect_events`."""
        return self.collect_events()


def pending_events(entity: Entity) -> tuple[Event, ...]:
    """What the entity has recorded, in order, without taking it. Raises TypeError for what is no Entity."""
    return _checked(entity)._recorded_events()


def discard_events(entity: Entity, events: Iterable[Event]) -> None:
    """Forget these very events of the entity: they are safe. Others stay. Raises TypeError for what is no Entity."""
    _checked(entity)._forget_events(events)


def _check_event(entity: Entity, event: Any) -> None:
    if not isinstance(event, Event):
        is_class = isinstance(event, type) and issubclass(event, Event)
        what = f"the class {event.__name__}" if is_class else f"a {type(event).__name__}"
        raise NotAnEvent(
            f"{type(entity).__name__} was given {what}, which is no event: give an instance of a DomainEvent subclass"
        )


def _checked(entity: Entity) -> Entity:
    if not isinstance(entity, Entity):
        raise TypeError(f"a {type(entity).__name__} records no events: derive it from Entity or AggregateRoot")
    return entity


def emitted(events: Iterable[Event]) -> None:
    """These are safe: no entity gets them back. For emitters; costs nothing where no entity has handed out events."""
    if _recorded.handed_out:
        _recorded.settle(events)


def not_emitted(events: Iterable[Event]) -> None:
    """These could not be emitted: entities that have handed them out have them again, in their old order.

    With them comes what was collected together with them and not emitted either: a loop that ended at the first
    failure has not reached it. Emitting any of them later removes it again.
    """
    if _recorded.handed_out:
        _recorded.give_back(events)


_carried: weakref.WeakKeyDictionary[type[Event], str | None] = weakref.WeakKeyDictionary()


def carries_entity(event_class: type[Event]) -> str | None:
    """The name of the event's first field that holds an Entity, directly or within (a list, a union, a model).

    Such an event lives in this process only: no broker can carry it.
    """
    try:
        return _carried[event_class]
    except KeyError:
        fields = event_class.model_fields.items()
        found = next((name for name, field in fields if _has_entity(field.annotation, {})), None)
        if event_class.__pydantic_complete__:  # else a name in it is not resolved yet
            _carried[event_class] = found
        return found


def _has_entity(annotation: Any, seen: dict[int, Any]) -> bool:
    if id(annotation) in seen:  # a model or a type alias that contains itself
        return False
    seen[id(annotation)] = annotation
    if isinstance(annotation, type) and issubclass(annotation, Entity):
        return True
    return any(_has_entity(inner, seen) for inner in _annotations_within(annotation))


def _annotations_within(annotation: Any) -> Iterable[Any]:
    if not isinstance(annotation, type):
        return (*typing.get_args(annotation), getattr(annotation, "__value__", None))  # the latter: type X = ...
    if issubclass(annotation, BaseModel):
        return [field.annotation for field in annotation.model_fields.values()]
    if dataclasses.is_dataclass(annotation):
        try:
            return typing.get_type_hints(annotation).values()
        except (NameError, TypeError, AttributeError):
            return ()  # an annotation that cannot be resolved says nothing
    return ()


def _refuse_json(entity: Any) -> Any:
    raise TypeError(
        f"{type(entity).__name__} is an entity, which is not written as JSON: put its id and what the handlers need "
        "into the event, or handle the event in the transaction (in_transaction=True)"
    )


_recorded = RecordedEvents(carries_entity)
