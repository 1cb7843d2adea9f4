"""The envelope: an event becomes one and comes back the same; what is no envelope says what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, computed_field

from events_core import DomainEvent, Event
from events_core.envelope import Envelope
from events_core.errors import (
    EventDefinitionError,
    InvalidEnvelope,
    UndecodableEvent,
    UnknownEventType,
    UnknownEventVersion,
)


class Colour(Enum):
    RED = "red"
    NONE = None


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Line(BaseModel):
    sku: str
    price: Decimal = Field(alias="unitPrice")
    extra: dict[str, list[int]] = {}


@dataclass(frozen=True)
class Point:
    x: float
    y: float


class Card(BaseModel):
    kind: Literal["card"] = Field("card", alias="type")
    last_four: str


class Transfer(BaseModel):
    kind: Literal["transfer"] = Field("transfer", alias="type")
    iban: str


class Rich(DomainEvent, event_type="envelope.rich"):
    uuid: UUID
    moment: datetime
    day: date
    clock: time
    span: timedelta
    money: Decimal
    number: float
    big: int
    text: str
    raw: bytes
    flag: bool | None
    colour: Colour
    level: Level
    word: Word
    tags: frozenset[str]
    numbers: set[int]
    pair: tuple[int, str]
    by_id: dict[UUID, int]
    lines: list[Line]
    point: Point
    payment: Annotated[Card | Transfer, Field(discriminator="kind")]
    path: Path
    anything: Any


class Renamed(DomainEvent, event_type="envelope.renamed"):
    """Each alias is the name of another field: whoever mixes names and aliases swaps the values."""

    first: int = Field(alias="second")
    second: int = Field(alias="third")
    moved: int = Field(validation_alias="order-number", serialization_alias="nr")


class Strict(DomainEvent, event_type="envelope.strict", strict=True):
    uuid: UUID
    moment: datetime
    pair: tuple[int, ...]
    names: frozenset[str]
    raw: bytes
    colour: Colour


class Empty(DomainEvent, event_type="envelope.empty"):
    pass


class Open(DomainEvent, event_type="envelope.open", extra="allow"):
    known: int


class Inner(BaseModel, extra="forbid"):
    known: int


class OpenInner(BaseModel, extra="allow"):
    known: int


class Nesting(DomainEvent, event_type="envelope.nesting"):
    inner: Inner
    open_inner: OpenInner


def wire(event: Event) -> dict[str, Any]:
    """What travels, as any JSON reader sees it."""
    decoded: dict[str, Any] = json.loads(Envelope.of(event).to_json())
    return decoded


def there_and_back(event: Event) -> Event:
    return Envelope.parse(wire(event)).event()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
LINES = st.builds(
    lambda sku, price, extra: Line(sku=sku, unitPrice=price, extra=extra),
    st.text(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(), st.lists(st.integers(), max_size=2), max_size=2),
)
RICH = st.builds(
    Rich,
    uuid=st.uuids(),
    moment=st.datetimes(timezones=st.just(UTC)),
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    money=st.decimals(allow_nan=False, allow_infinity=False),
    number=st.floats(allow_nan=False),
    big=st.integers(),
    text=st.text(),
    raw=st.binary(),
    flag=st.booleans() | st.none(),
    colour=st.sampled_from(Colour),
    level=st.just(Level.LOW),
    word=st.just(Word.YES),
    tags=st.frozensets(st.text(), max_size=3),
    numbers=st.sets(st.integers(), max_size=3),
    pair=st.tuples(st.integers(), st.text()),
    by_id=st.dictionaries(st.uuids(), st.integers(), max_size=3),
    lines=st.lists(LINES, max_size=3),
    point=st.builds(Point, *[st.floats(allow_nan=False, allow_infinity=False)] * 2),
    payment=st.builds(Card, last_four=st.text()) | st.builds(Transfer, iban=st.text()),
    path=st.just(Path("a/b")),
    anything=JSON_VALUES,
)


class TestRoundTrip:
    @given(event=RICH)
    def test_every_field_comes_back_as_it_was(self, event: Rich) -> None:
        """Holes 9 and 11: whatever was constructed decodes to an equal event, nested models included."""
        back = there_and_back(event)
        assert back == event
        assert type(back) is Rich
        assert all(type(line) is Line for line in back.lines)

    @given(first=st.integers(), second=st.integers(), moved=st.integers())
    def test_aliases_do_not_mix_with_names(self, first: int, second: int, moved: int) -> None:
        """An alias that is another field's name does not swap the two."""
        event = Renamed.model_validate({"second": first, "third": second, "order-number": moved})
        assert there_and_back(event) == event

    @given(raw=st.binary(), moment=st.datetimes(timezones=st.just(UTC)))
    def test_a_strict_class_decodes_what_json_cannot_say_strictly(self, raw: bytes, moment: datetime) -> None:
        """strict=True concerns Python values; from JSON, text is a UUID, a list is a tuple."""
        event = Strict(uuid=uuid4(), moment=moment, pair=(1, 2), names=frozenset("ab"), raw=raw, colour=Colour.RED)
        assert there_and_back(event) == event

    def test_an_event_without_fields(self) -> None:
        """The id and the time alone are an event."""
        assert wire(Empty())["data"] == {}
        event = Empty()
        assert there_and_back(event) == event

    def test_infinity_is_not_lost(self) -> None:
        """JSON has no infinity, and null in its place would be undecodable at the worker."""

        class Measured(DomainEvent, event_type="envelope.measured"):
            value: float

        assert there_and_back(Measured(value=float("-inf"))).value == float("-inf")  # type: ignore[attr-defined]

    def test_computed_fields_are_not_sent(self) -> None:
        """They are made again from the fields; sent along they would be unknown fields."""

        class Computed(DomainEvent, event_type="envelope.computed"):
            side: int

            @computed_field
            def area(self) -> int:
                return self.side**2

        event = Computed(side=3)
        assert wire(event)["data"] == {"side": 3}
        assert there_and_back(event).area == 9  # type: ignore[attr-defined]

    def test_a_url_comes_back(self) -> None:
        """Types of pydantic's own travel as text."""

        class Linked(DomainEvent, event_type="envelope.linked"):
            link: AnyUrl

        event = Linked(link=AnyUrl("https://example.org/a?b=c"))
        assert there_and_back(event) == event

    def test_what_json_cannot_hold_is_refused_at_emit(self) -> None:
        """The error names the event and says what to do, instead of a dead letter at the worker."""

        class Holding(DomainEvent, event_type="envelope.holding"):
            thing: Any

        with pytest.raises(EventDefinitionError, match=r"envelope.holding .* cannot be written as JSON.*type that can"):
            Envelope.of(Holding(thing=object()))

    def test_encoding_does_not_change_the_event_and_later_changes_do_not_reach_the_wire(self) -> None:
        """Hole 11: no mutation of the input; the envelope is a picture of the moment."""
        event = Open(known=1, more=[1])  # type: ignore[call-arg]
        before = event.model_copy(deep=True)
        envelope = Envelope.of(event)
        assert event == before
        assert event.__pydantic_extra__ is not None
        event.__pydantic_extra__["more"].append(2)
        assert json.loads(envelope.to_json())["data"]["more"] == [1]


class TestIsolation:
    def test_two_handlers_of_one_event_share_no_mutable_object(self) -> None:
        """Item 2: what one handler does to lists, dicts, models in its event is invisible to the other."""
        received = wire(
            Rich.model_construct(
                **{**example().__dict__, "anything": {"deep": [{"er": [1]}]}},
            )
        )
        one, other = Envelope.parse(received).event(), Envelope.parse(received).event()
        before = other.model_dump_json()
        assert isinstance(one, Rich)
        one.lines.clear()
        one.numbers.add(99)
        one.by_id.clear()
        one.anything["deep"][0]["er"].append(2)
        assert other.model_dump_json() == before
        assert Envelope.parse(received).event().model_dump_json() == before

    def test_defaults_are_not_shared_by_decoded_events(self) -> None:
        """A field that an old message lacks gets a default of its own in each handler."""

        class Grown(DomainEvent, event_type="envelope.grown"):
            tags: list[str] = []
            inner: OpenInner = OpenInner(known=1)

        message = wire(Grown())
        message["data"] = {}
        one, other = Envelope.parse(message).event(), Envelope.parse(message).event()
        assert isinstance(one, Grown)
        assert isinstance(other, Grown)
        one.tags.append("x")
        one.inner.known = 2
        assert (other.tags, other.inner.known) == ([], 1)
        assert Grown().inner.known == 1


class TestUnknownFields:
    def test_unknown_fields_are_ignored_when_decoding(self) -> None:
        """A rolling deploy adds fields; old workers go on, also where the field is in a nested model."""
        message = wire(Nesting(inner=Inner(known=1), open_inner=OpenInner(known=2)))
        message["data"]["added"] = 1
        message["data"]["inner"]["added"] = 1
        back = Envelope.parse(message).event()
        assert isinstance(back, Nesting)
        assert back.inner == Inner(known=1)
        assert "added" not in back.model_dump()

    def test_an_open_class_keeps_them(self) -> None:
        """extra="allow" is the class's choice also for what is received."""
        event = Open(known=1, more={"a": [1]})  # type: ignore[call-arg]
        assert there_and_back(event) == event

    def test_a_nested_open_model_keeps_its_own(self) -> None:
        """Ignoring at the top must not drop what a nested model allows."""
        event = Nesting(inner=Inner(known=1), open_inner=OpenInner(known=2, more="kept"))  # type: ignore[call-arg]
        assert there_and_back(event) == event


class TestWireForm:
    def test_the_envelope_has_exactly_these_fields(self) -> None:
        """DESIGN §5: the format is a promise to other readers."""
        event = Renamed.model_validate({"second": 1, "third": 2, "order-number": 3})
        assert wire(event) == {
            "id": str(event.event_id),
            "type": "envelope.renamed",
            "version": 1,
            "kind": "domain_event",
            "occurred_at": event.occurred_at.isoformat(),
            "correlation_id": str(event.event_id),
            "causation_id": None,
            "hops": 0,
            "data": {"first": 1, "second": 2, "moved": 3},
        }

    def test_a_follow_up_names_its_cause_and_the_root(self) -> None:
        """Holes 6 and 10: correlation stays, causation is the direct cause, hops count."""
        root = Envelope.of(Empty())
        second = Envelope.of(Empty(), root)
        third = Envelope.of(Empty(), second)
        assert {second.correlation_id, third.correlation_id} == {root.id}
        assert (second.causation_id, third.causation_id) == (root.id, second.id)
        assert [root.hops, second.hops, third.hops] == [0, 1, 2]

    def test_task_lists_show_type_and_id_only(self) -> None:
        """Promise 9: never the payload."""
        event = Open(known=1, token="sesame")  # type: ignore[call-arg]
        assert Envelope.of(event).argsrepr == f"envelope.open {str(event.event_id)[:8]}…"


class TestBadEnvelopes:
    @pytest.mark.parametrize("value", [None, 7, "text", [], [1], True])
    def test_what_is_no_object(self, value: object) -> None:
        """The error names the JSON type, not the content."""
        with pytest.raises(InvalidEnvelope, match=f"no envelope, but a {type(value).__name__}"):
            Envelope.parse(value)

    @pytest.mark.parametrize("name", list(wire(Empty())))
    def test_a_missing_part_is_named(self, name: str) -> None:
        """Each part is needed."""
        message = wire(Empty())
        del message[name]
        with pytest.raises(InvalidEnvelope, match=f"lacks {name}"):
            Envelope.parse(message)

    @pytest.mark.parametrize(
        "name, value",
        [
            ("id", 7),
            ("id", None),
            ("type", None),
            ("version", "1"),
            ("hops", None),
            ("hops", 1.5),
            ("correlation_id", 3),
            ("data", [1]),
            ("data", "text"),
            ("data", None),
        ],
    )
    def test_a_part_of_a_wrong_type_is_named(self, name: str, value: object) -> None:
        """A value that would break a later step is refused here."""
        with pytest.raises(InvalidEnvelope, match=name):
            Envelope.parse({**wire(Empty()), name: value})

    def test_an_id_that_is_no_uuid(self) -> None:
        """Ids of deliveries are derived from it."""
        with pytest.raises(InvalidEnvelope, match="no UUID"):
            Envelope.parse({**wire(Empty()), "id": "seven"})

    def test_data_that_does_not_fit_names_the_field_and_not_the_value(self) -> None:
        """Promise 9: the reason of a dead letter carries no payload."""
        message = wire(Open(known=1))
        message["data"]["known"] = "sesame"
        with pytest.raises(InvalidEnvelope, match=r"'envelope.open' version 1: known: int_parsing") as caught:
            Envelope.parse(message).event()
        assert "sesame" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_time_without_zone_is_refused_when_decoding_too(self) -> None:
        """Hole 10, for messages of other makers."""
        with pytest.raises(InvalidEnvelope, match="occurred_at"):
            Envelope.parse({**wire(Empty()), "occurred_at": "2026-01-01T00:00:00"}).event()

    def test_data_cannot_overrule_the_envelopes_id(self) -> None:
        """An id inside the data is no way to forge that of the event."""
        message = wire(Empty())
        message["data"] = {"event_id": str(uuid4())}
        assert str(Envelope.parse(message).event().event_id) == message["id"]

    @pytest.mark.parametrize("data", [{"a": "\ud800"}, {"a": [[[float("nan")]]]}, {"a": 10**400}])
    def test_json_that_python_reads_and_others_do_not(self, data: dict[str, object]) -> None:
        """Half a surrogate pair, NaN and huge numbers pass Python's JSON reader; none of them ends a worker."""
        try:
            Envelope.parse({**wire(Open(known=1)), "data": {"known": 1, **data}}).event()
        except UndecodableEvent:
            pass

    def test_unknown_types_and_versions(self) -> None:
        """Both are told apart, since a deploy may bring either."""
        with pytest.raises(UnknownEventType):
            Envelope.parse({**wire(Empty()), "type": "envelope.unheard"}).event()
        with pytest.raises(UnknownEventVersion):
            Envelope.parse({**wire(Empty()), "version": 2}).event()

    @given(value=st.dictionaries(st.sampled_from(list(wire(Empty()))), JSON_VALUES) | JSON_VALUES)
    def test_garbage_is_never_anything_but_an_undecodable_event(self, value: object) -> None:
        """Hole 14: no message, whatever it holds, raises what a worker does not expect."""
        with pytest.raises(UndecodableEvent):
            Envelope.parse(value).event()

    @given(name=st.sampled_from(list(wire(Empty()))), value=JSON_VALUES)
    def test_one_broken_part_is_an_undecodable_event_or_harmless(self, name: str, value: object) -> None:
        """The same, nearer to a good envelope."""
        try:
            decoded = Envelope.parse({**wire(Empty()), name: value}).event()
        except UndecodableEvent:
            return
        assert type(decoded) is Empty


def example() -> Rich:
    return Rich(
        uuid=uuid4(),
        moment=datetime.now(UTC),
        day=date(2026, 1, 1),
        clock=time(1, 2),
        span=timedelta(1),
        money=Decimal("1.10"),
        number=1.5,
        big=2**70,
        text="é",
        raw=b"\xff",
        flag=None,
        colour=Colour.RED,
        level=Level.LOW,
        word=Word.YES,
        tags=frozenset("a"),
        numbers={1},
        pair=(1, "a"),
        by_id={uuid4(): 1},
        lines=[Line(sku="a", unitPrice=Decimal(1), extra={"a": [1]})],
        point=Point(1, 2),
        payment=Card(type="card", last_four="1234"),
        path=Path("a"),
        anything=None,
    )
