"""Events that carry an entity: they hold the very object, are not written as JSON, and are told from others."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Annotated

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError

from events_core import DomainEvent, NotificationEvent
from events_core.entities import AggregateRoot, Entity, carries_entity, not_emitted, pending_events


class Plain(AggregateRoot):
    """As seed 001 has it."""


class Model(Entity, BaseModel):
    number: int = 1


class ModelFirst(BaseModel, Entity):
    number: int = 1


class Changed(DomainEvent, event_type="entities_carried.changed"):
    number: int


class Told(NotificationEvent, event_type="entities_carried.told"):
    number: int


class Completed(DomainEvent, event_type="entities_carried.completed"):
    order: Plain


class Imported(DomainEvent, event_type="entities_carried.imported"):
    total: int
    orders: Annotated[list[Model] | None, "what was read"]


class Line(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    parent: Line | None = None
    order: Plain


class Added(DomainEvent, event_type="entities_carried.added"):
    line: dict[str, Line]


class TestEventsThatCarryAnEntity:
    def test_it_is_the_same_object(self) -> None:
        order, model = Plain(), Model()
        assert Completed(order=order).order is order
        carried = Imported(total=1, orders=[model]).orders
        assert carried is not None
        assert carried[0] is model

    def test_another_object_is_refused(self) -> None:
        with pytest.raises(pydantic.ValidationError, match="instance of Plain"):
            Completed(order={"number": 1})  # type: ignore[arg-type]

    def test_it_is_not_written_as_json(self) -> None:
        with pytest.raises(PydanticSerializationError, match="Plain is an entity, which is not written as JSON"):
            Completed(order=Plain()).model_dump_json()

    @pytest.mark.parametrize(
        "event, field", [(Completed, "order"), (Imported, "orders"), (Added, "line"), (Changed, None), (Told, None)]
    )
    def test_the_field_is_found(self, event: type[DomainEvent], field: str | None) -> None:
        assert [carries_entity(event), carries_entity(event)] == [field, field]

    def test_an_event_class_can_go(self) -> None:
        class Local(DomainEvent, event_type="entities_carried.local"):
            order: Plain

        assert carries_entity(Local) == "order"
        gone = weakref.ref(Local)
        del Local
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("collected", [False, True])
    def test_an_entity_in_its_own_pending_event_can_go(self, collected: bool) -> None:
        """What is recorded, and never emitted as its transaction failed, keeps nothing alive."""
        order = Plain()
        order.publish_event(Completed(order=order))
        if collected:
            not_emitted(order.pop_events())
        assert len(pending_events(order)) == 1
        gone = weakref.ref(order)
        del order
        gc.collect()
        assert gone() is None

    def test_it_is_a_model_like_any_other_while_such_an_event_is_pending(self) -> None:
        entity = ModelFirst()
        entity.add_event(Imported(total=1, orders=[]))
        assert entity == ModelFirst()
        assert repr(entity) == repr(ModelFirst())
        assert entity.model_dump() == {"number": 1}
        for other in (copy.copy(entity), copy.deepcopy(entity), pickle.loads(pickle.dumps(entity))):
            assert other == entity
            assert pending_events(other) == ()
        assert len(entity.collect_events()) == 1
        assert vars(entity) == {"number": 1}
