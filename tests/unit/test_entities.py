"""Entities: they record events, whatever kind of class they are, and give up only what is safe."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import pydantic.dataclasses
import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from events_core import DomainEvent, NotificationEvent
from events_core.entities import (
    AggregateRoot,
    Entity,
    discard_events,
    emitted,
    not_emitted,
    pending_events,
)
from events_core.errors import NotAnEvent


class Changed(DomainEvent, event_type="entities.changed"):
    number: int


class Told(NotificationEvent, event_type="entities.told"):
    number: int


class Plain(AggregateRoot):
    """As seed 001 has it: an __init__ of its own, that calls no other."""

    def __init__(self, number: int = 1) -> None:
        self.number = number


@dataclass
class AsDataclass(Entity):
    number: int = 1


@dataclass(slots=True)
class WithSlots(Entity):
    number: int = 1


@dataclass(frozen=True, slots=True)
class Frozen(Entity):
    number: int = 1


class Model(Entity, BaseModel):
    model_config = ConfigDict(extra="allow", validate_assignment=True)
    number: int = 1


class ModelFirst(BaseModel, Entity):
    number: int = 1


class FrozenModel(BaseModel, AggregateRoot):
    model_config = ConfigDict(frozen=True)
    number: int = 1


@pydantic.dataclasses.dataclass
class PydanticDataclass(Entity):
    number: int = 1


class Base(DeclarativeBase):
    pass


class Row(Base, AggregateRoot):
    __tablename__ = "rows"
    number: Mapped[int] = mapped_column(primary_key=True)


class RowLast(Entity, Base):
    __tablename__ = "other_rows"
    number: Mapped[int] = mapped_column(primary_key=True)


KINDS: list[Callable[[], Any]] = [
    Plain,
    AsDataclass,
    WithSlots,
    Frozen,
    Model,
    ModelFirst,
    FrozenModel,
    PydanticDataclass,
    lambda: Row(number=1),
    lambda: RowLast(number=1),
]


@pytest.fixture(params=range(len(KINDS)), ids=lambda index: type(KINDS[index]()).__name__)
def entity(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def events(*numbers: int) -> list[Changed]:
    return [Changed(number=number) for number in numbers]


def test_events_are_collected_once_first_in_first_out(entity: Any) -> None:
    first, second = Changed(number=1), Told(number=2)
    entity.add_event(first)
    entity.add_event(second)
    assert entity.collect_events() == [first, second]
    assert entity.collect_events() == []


def test_a_look_takes_nothing_and_what_is_safe_can_be_forgotten(entity: Any) -> None:
    first, second, third = events(1, 2, 3)
    for event in (first, second, third):
        entity.add_event(event)
    assert pending_events(entity) == (first, second, third)
    discard_events(entity, [first, third])
    assert pending_events(entity) == (second,)
    assert entity.collect_events() == [second]


def test_what_could_not_be_emitted_is_back_in_front(entity: Any) -> None:
    first, second, later = events(1, 2, 3)
    entity.add_event(first)
    entity.add_event(second)
    collected = entity.collect_events()
    entity.add_event(later)
    not_emitted(collected)
    assert entity.collect_events() == [first, second, later]


def test_what_was_emitted_is_gone_for_good(entity: Any) -> None:
    entity.add_event(Changed(number=1))
    collected = entity.collect_events()
    emitted(collected)
    not_emitted(collected)
    assert pending_events(entity) == ()


def test_copies_share_nothing(entity: Any) -> None:
    entity.add_event(Changed(number=1))
    for other in (copy.copy(entity), copy.deepcopy(entity), pickle.loads(pickle.dumps(entity))):
        assert pending_events(other) == ()
        other.add_event(Changed(number=2))
        assert [event.number for event in pending_events(other)] == [2]
    assert [event.number for event in entity.collect_events()] == [1]


def test_it_goes_with_its_events() -> None:
    entity = AsDataclass()
    entity.add_event(Changed(number=1))
    gone = weakref.ref(entity)
    event = weakref.ref(pending_events(entity)[0])
    del entity
    assert gone() is None
    assert event() is None


def test_recorded_events_show_in_nothing() -> None:
    """A pydantic model compares, dumps and prints its fields; so does a dataclass."""
    for make in (Model, ModelFirst, FrozenModel):
        one, other = make(), make()
        one.add_event(Changed(number=1))
        assert one == other
        assert repr(one) == repr(other)
        assert one.model_dump() == {"number": 1}
        assert one.model_dump_json() == '{"number":1}'
        assert make.model_validate({"number": 2}).number == 2
    assert hash(FrozenModel()) == hash(FrozenModel())
    row = AsDataclass()
    row.add_event(Changed(number=1))
    assert (row, repr(row), asdict(row)) == (AsDataclass(), repr(AsDataclass()), {"number": 1})


def test_slots_stay_slots() -> None:
    assert not hasattr(WithSlots(), "__dict__")


def test_rows_loaded_from_a_database() -> None:
    """SQLAlchemy makes them without __init__, and expires what they hold when they are committed."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Row(number=7))
        session.commit()
    with Session(engine) as session:
        row = session.scalars(select(Row)).one()
        row.publish_event(Changed(number=7))
        session.commit()
        assert row.number == 7
        assert [event.number for event in pending_events(row)] == [7]
        assert len(row.pop_events()) == 1
    engine.dispose()


@pytest.mark.parametrize(
    "given, said",
    [("order placed", "a str"), ({"number": 1}, "a dict"), (None, "a NoneType"), (Changed, "the class Changed")],
)
def test_what_is_no_event_is_refused(given: Any, said: str) -> None:
    with pytest.raises(NotAnEvent, match=f"Plain was given {said}, which is no event: give an instance of"):
        Plain().publish_event(given)


def test_what_is_no_entity_is_refused() -> None:
    for look in (pending_events, lambda thing: discard_events(thing, ())):
        with pytest.raises(TypeError, match="a object records no events: derive it from Entity or AggregateRoot"):
            look(object())


class TestPartly:
    """Some of what was collected is emitted, some not."""

    def test_a_loop_that_ends_at_the_first_failure(self) -> None:
        """What the loop has not reached comes back as well; what it has emitted before does not."""
        entity = AsDataclass()
        first, second, third = events(1, 2, 3)
        for event in (first, second, third):
            entity.add_event(event)
        collected = entity.collect_events()
        emitted(collected[:1])
        not_emitted(collected[1:2])
        assert pending_events(entity) == (second, third)

    def test_a_retry_of_the_collected_list(self) -> None:
        """Emitting what came back counts, also when it is not collected anew."""
        entity = AsDataclass()
        entity.add_event(Changed(number=1))
        collected = entity.collect_events()
        not_emitted(collected)
        emitted(collected)
        assert entity.collect_events() == []

    def test_two_collections_fail_the_later_one_first(self) -> None:
        entity = AsDataclass()
        first, second = events(1, 2)
        entity.add_event(first)
        earlier = entity.collect_events()
        entity.add_event(second)
        later = entity.collect_events()
        not_emitted(later)
        not_emitted(earlier)
        assert entity.collect_events() == [first, second]

    def test_a_collection_that_others_do_not_concern(self) -> None:
        """Only what was collected together comes back together."""
        entity = AsDataclass()
        kept = events(1)
        entity.add_event(kept[0])
        taken = entity.collect_events()
        entity.add_event(Changed(number=2))
        not_emitted(entity.collect_events())
        assert [event.number for event in pending_events(entity)] == [2]  # type: ignore[attr-defined]
        assert taken == kept

    def test_one_event_of_two_entities(self) -> None:
        one, other = AsDataclass(), WithSlots()
        event = Changed(number=1)
        one.add_event(event)
        other.add_event(event)
        both = [*one.collect_events(), *other.collect_events()]
        not_emitted(both)
        assert pending_events(one) == pending_events(other) == (event,)
        emitted([event])
        assert pending_events(one) == pending_events(other) == ()

    def test_what_is_forgotten_after_it_was_collected_does_not_come_back(self) -> None:
        entity = AsDataclass()
        entity.add_event(Changed(number=1))
        collected = entity.collect_events()
        discard_events(entity, collected)
        not_emitted(collected)
        assert pending_events(entity) == ()

    def test_what_is_dropped_unemitted_is_not_remembered(self) -> None:
        entity = AsDataclass()
        entity.add_event(Changed(number=1))
        event = weakref.ref(entity.collect_events()[0])
        assert event() is None

    def test_events_that_no_entity_has_handed_out(self) -> None:
        emitted(events(1, 2))
        not_emitted(events(1, 2))

    def test_an_entity_that_is_gone(self) -> None:
        entity = AsDataclass()
        entity.add_event(Changed(number=1))
        collected = entity.collect_events()
        del entity
        not_emitted(collected)
        emitted(collected)


class TestThreads:
    def test_what_many_add_and_many_collect_is_collected_once(self) -> None:
        entity = AsDataclass()
        collected: list[Any] = []

        def work(thread: int) -> None:
            for number in range(200):
                entity.add_event(Changed(number=thread * 1000 + number))
                if number % 7 == 0:
                    collected.extend(entity.collect_events())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        collected += entity.collect_events()
        numbers = [event.number for event in collected]
        assert sorted(numbers) == sorted(thread * 1000 + number for thread in range(8) for number in range(200))
