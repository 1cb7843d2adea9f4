"""Event classes: what a definition may be, and what an instance promises."""

from __future__ import annotations

import gc
import importlib
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ValidationError

from events_core import DomainEvent, ECSTEvent, Event, EventsError, IntegrationEvent, NotificationEvent
from events_core.catalog import find
from events_core.envelope import Envelope
from events_core.errors import DuplicateEventType, EventDefinitionError


class Placed(DomainEvent, event_type="events.placed", version=3):
    order_id: int
    tags: list[str] = []


class NamedByItself(DomainEvent):
    pass


class Notified(NotificationEvent, event_type="events.notified", topic="orders"):
    order_id: int


class TestIdentity:
    def test_every_event_has_a_time_ordered_id_of_its_own(self) -> None:
        """Holes 9 and 10: ids are UUIDv7, distinct, and sort by the time they were made."""
        ids = [Placed(order_id=1).event_id for _ in range(200)]
        assert {event_id.version for event_id in ids} == {7}
        assert ids == sorted(set(ids))

    def test_the_time_is_aware_and_in_utc(self) -> None:
        """Hole 10: occurred_at is now, in UTC."""
        before = datetime.now(UTC)
        event = Placed(order_id=1)
        assert before <= event.occurred_at <= datetime.now(UTC)
        assert event.occurred_at.utcoffset() == timedelta(0)

    def test_another_zone_becomes_utc_and_stays_the_same_moment(self) -> None:
        """A time given in another zone is the same moment, told in UTC."""
        given = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5)))
        event = Placed(order_id=1, occurred_at=given)
        assert event.occurred_at == given
        assert event.occurred_at.tzinfo is UTC

    def test_a_naive_time_is_refused(self) -> None:
        """Hole 10: a time without a zone says nothing; it is refused, not guessed."""
        with pytest.raises(ValidationError, match="timezone"):
            Placed(order_id=1, occurred_at=datetime(2026, 1, 2))

    def test_an_id_may_be_given(self) -> None:
        """An id from elsewhere is kept."""
        given = uuid4()
        assert Placed(order_id=1, event_id=given).event_id == given


class TestTypeAndVersion:
    def test_they_are_read_on_class_and_instance(self) -> None:
        """Both spell the names of the wire."""
        assert (Placed.event_type, Placed.version) == ("events.placed", 3)
        event = Placed(order_id=1)
        assert (event.event_type, event.version) == ("events.placed", 3)

    def test_the_defaults_are_the_class_name_and_one(self) -> None:
        """Without class keywords an event is named after its class, version 1."""
        assert (NamedByItself.event_type, NamedByItself.version) == ("NamedByItself", 1)

    def test_a_subclass_does_not_inherit_its_parents_name(self) -> None:
        """Two classes under one name could not be told apart on the wire."""

        class Special(Placed):
            pass

        assert (Special.event_type, Special.version) == ("Special", 1)

    def test_they_may_be_set_in_the_class_body(self) -> None:
        """`event_type = ...` without an annotation, or as a ClassVar, names the event as the keyword does."""

        class Plain(DomainEvent):
            event_type = "events.plain"

        class Annotated(DomainEvent):
            event_type: ClassVar[str] = "events.annotated"
            version: ClassVar[int] = 2

        assert Plain.event_type == "events.plain"
        assert (Annotated.event_type, Annotated.version) == ("events.annotated", 2)

    @pytest.mark.parametrize("name", ["event_type", "version"])
    def test_an_instance_cannot_be_given_its_own(self, name: str) -> None:
        """Neither in the constructor nor afterwards."""
        with pytest.raises(ValidationError, match=name):
            Placed.model_validate({"order_id": 1, name: 9})
        event = Placed(order_id=1)
        with pytest.raises((AttributeError, ValidationError)):
            setattr(event, name, 9)
        assert getattr(event, name) == getattr(Placed, name)

    def test_an_open_event_cannot_be_given_its_own_either(self) -> None:
        """extra="allow" keeps unknown fields, but the names of the wire stay those of the class."""

        class Open(DomainEvent, event_type="events.open", extra="allow"):
            pass

        assert Open(event_type="forged").event_type == "events.open"  # type: ignore[call-arg]

    @pytest.mark.parametrize("event_type", ["", "x" * 201, "a b", "order.*", "order.?", "a[b]", "a\nb", "a\x00b", 7])
    def test_an_unusable_type_is_refused(self, event_type: object) -> None:
        """Blanks, pattern characters and control characters would break routing, keys and task lists."""
        with pytest.raises(EventDefinitionError, match="event_type"):
            type("Bad", (DomainEvent,), {"__module__": __name__}, event_type=event_type)

    @pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
    def test_an_unusable_version_is_refused(self, version: object) -> None:
        """Versions are whole numbers from 1 on."""
        with pytest.raises(EventDefinitionError, match="whole number from 1 on"):
            type("Bad", (DomainEvent,), {"__module__": __name__}, version=version)

    def test_the_kind_and_the_topic_come_from_the_base(self) -> None:
        """Domain, notification and ECST events tell on the wire what they are; integration events name a topic."""

        class State(ECSTEvent, event_type="events.state"):
            pass

        assert (Placed.event_kind, Notified.event_kind, State.event_kind) == (
            "domain_event",
            "notification_event",
            "ecst_event",
        )
        assert (Notified.topic, State.topic) == ("orders", None)
        assert issubclass(Notified, IntegrationEvent)
        assert not issubclass(Placed, IntegrationEvent)


class TestDefinition:
    @pytest.mark.parametrize(
        "name", ["event_id", "event_kind", "event_type", "event_timestamp", "version", "occurred_at"]
    )
    def test_a_field_with_a_name_of_the_wire_is_refused(self, name: str) -> None:
        """DESIGN §5: the message names class, field and what to do. Annotations are strings in this module."""
        with pytest.raises(EventDefinitionError, match=rf"Bad: the field name '{name}'.*choose another name"):
            type("Bad", (DomainEvent,), {"__module__": __name__, "__annotations__": {name: "str"}})

    def test_an_event_may_have_a_field_named_kind(self) -> None:
        """What its class is on the wire stays what it is, and the field has no default."""

        class Paid(NotificationEvent, event_type="events.paid"):
            kind: str

        assert Envelope.of(Paid(kind="card")).kind == "notification_event"
        with pytest.raises(ValidationError):
            Paid()  # type: ignore[call-arg]

    @pytest.mark.parametrize("postponed", [True, False])
    def test_so_it_is_with_postponed_annotations_and_without(self, postponed: bool, tmp_path: Path) -> None:
        """The refusal does not depend on `from __future__ import annotations`, nor on a default value."""
        source = "from __future__ import annotations\n" if postponed else ""
        source += "from events_core import DomainEvent\nclass Bad(DomainEvent):\n    version: int = 2\n"
        with pytest.raises(EventDefinitionError, match=r"'version'.*set it as a class keyword"):
            exec(compile(source, str(tmp_path), "exec", dont_inherit=True), {"__name__": "somewhere"})

    def test_an_event_that_may_change_is_refused(self) -> None:
        """Item 2: events are frozen; pydantic's switch does not turn that off."""
        with pytest.raises(EventDefinitionError, match="remove frozen=False"):
            type("Bad", (DomainEvent,), {"__module__": __name__}, frozen=False)

    def test_errors_of_definition_are_ours_and_type_errors(self) -> None:
        """They can be caught as EventsError, and are what Python raises for a class that cannot be made."""
        assert issubclass(EventDefinitionError, EventsError)
        assert issubclass(EventDefinitionError, TypeError)


class TestDuplicates:
    def test_two_classes_of_one_type_and_version_are_an_error_that_names_both(self) -> None:
        """Item 2: a second claim is refused, and the first class stays."""
        with pytest.raises(DuplicateEventType) as caught:

            class Rival(DomainEvent, event_type="events.placed", version=3):
                pass

        assert f"{__name__}.Placed" in str(caught.value)
        assert "Rival" in str(caught.value)
        assert "give one another event_type or version" in str(caught.value)
        assert find("events.placed", 3) is Placed

    def test_another_version_is_no_duplicate(self) -> None:
        """Versions of one type live beside each other."""

        class PlacedBefore(DomainEvent, event_type="events.placed", version=2):
            pass

        assert find("events.placed", 2) is PlacedBefore
        assert find("events.placed", 3) is Placed

    def test_a_module_loaded_anew_replaces_its_classes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A reload or a notebook cell run again defines the same class at the same place: the newer one counts."""
        (tmp_path / "reloaded_events.py").write_text(
            "from events_core import DomainEvent\nclass Again(DomainEvent, event_type='events.again'):\n    pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        module = importlib.import_module("reloaded_events")
        try:
            first = module.Again
            importlib.reload(module)
            assert module.Again is not first
            assert find("events.again", 1) is module.Again
        finally:
            del sys.modules["reloaded_events"]

    def test_a_class_that_nobody_holds_is_no_rival(self) -> None:
        """A class made in a function and forgotten blocks its name no longer than it lives."""

        def make() -> type[DomainEvent]:
            class Passing(DomainEvent, event_type="events.passing"):
                pass

            return Passing

        make()

        class Successor(DomainEvent, event_type="events.passing"):
            pass

        gc.collect()
        assert find("events.passing", 1) is Successor


class TestInstances:
    def test_a_field_cannot_be_changed(self) -> None:
        """Item 2: frozen."""
        event = Placed(order_id=1)
        with pytest.raises(ValidationError, match="frozen"):
            event.order_id = 2
        with pytest.raises(ValidationError, match="frozen"):
            del event.order_id

    def test_fields_without_default_are_required_and_named(self) -> None:
        """Hole 9: no event comes into being with made-up data, and none by position."""
        with pytest.raises(ValidationError, match="order_id"):
            Placed()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Placed(1)  # type: ignore[call-arg,arg-type]

    def test_an_unknown_field_is_refused(self) -> None:
        """Hole 11: a misspelt field is an error where it is written."""
        with pytest.raises(ValidationError, match="ordr_id"):
            Placed(order_id=1, ordr_id=2)  # type: ignore[call-arg]

    def test_a_class_may_choose_otherwise(self) -> None:
        """Item 2: the policy for unknown fields is the class's choice."""

        class Ignoring(DomainEvent, event_type="events.ignoring", extra="ignore"):
            pass

        class Allowing(DomainEvent, event_type="events.allowing", extra="allow"):
            pass

        assert "more" not in Ignoring(more=1).model_dump()  # type: ignore[call-arg]
        assert Allowing(more=1).model_dump()["more"] == 1  # type: ignore[call-arg]

    def test_default_values_are_not_shared(self) -> None:
        """Hole 9: a mutable default belongs to one instance."""
        first, second = Placed(order_id=1), Placed(order_id=2)
        first.tags.append("changed")
        assert second.tags == []
        assert Placed(order_id=3).tags == []

    def test_events_with_mutable_fields_are_hashable_and_equal_by_value(self) -> None:
        """Hole 9: an event with a list can stand in a set; a copy of it is the same event."""
        event = Placed(order_id=1, tags=["a"])
        same = Placed.model_validate(event.model_dump())
        assert same == event
        assert {event, same} == {event}
        assert Placed(order_id=1, tags=["a"]) != event

    def test_a_subclass_keeps_the_hash(self) -> None:
        """pydantic would give a frozen subclass a hash over its fields, which fails on a list."""

        class Nested(BaseModel):
            values: dict[str, list[int]]

        class WithNested(Placed, event_type="events.with_nested"):
            nested: Nested

        event = WithNested(order_id=1, nested=Nested(values={"a": [1]}))
        assert hash(event) == hash(event.event_id)

    def test_the_base_classes_are_no_types_of_the_wire(self) -> None:
        """Only classes of the application are known to the catalog."""
        for base in (Event, DomainEvent, IntegrationEvent, NotificationEvent, ECSTEvent):
            with pytest.raises(EventsError):
                find(base.event_type, base.version)

    def test_an_event_id_is_a_uuid_also_when_given_as_text(self) -> None:
        """What arrives as text becomes a UUID, so that ids compare."""
        text = "0198c0de-0000-7000-8000-000000000001"
        assert Placed(order_id=1, event_id=text).event_id == UUID(text)  # type: ignore[arg-type]


class TestPublish:
    def test_by_the_system_that_is_named(self) -> None:
        class Named(DomainEvent, event_type="events.named"):
            pass

        class System:
            def emit(self, event: DomainEvent) -> None:
                emitted.append(event)

        emitted: list[DomainEvent] = []
        event = Named()
        event.publish(System())
        assert emitted == [event]

    def test_a_field_may_have_that_name(self, recwarn: pytest.WarningsRecorder) -> None:
        """The method must not take a name away from events."""

        class Page(DomainEvent, event_type="events.page"):
            publish: bool  # type: ignore[assignment]

        class Draft(DomainEvent, event_type="events.draft"):
            publish: bool = False  # type: ignore[assignment]

        assert Page(publish=True).publish is True
        assert Draft().publish is False
        assert not recwarn.list
