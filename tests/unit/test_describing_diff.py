"""What breaks whom when an event changes: each rule by an example, and all of them against pydantic itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import jsonschema
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, FiniteFloat, StrictBool, StrictInt, ValidationError, create_model

from events_core import NotificationEvent
from events_core.describing import document, payload_schema
from events_core.describing.compare import Comparison
from events_core.describing.diff import by_event, changes
from events_core.envelope import Envelope

_numbers = itertools.count(1)
CONSUMERS, PRODUCERS, BOTH, NOBODY = {"consumers"}, {"producers"}, {"consumers", "producers"}, set()


def event_class(**fields: Any) -> type[NotificationEvent]:
    """An event class with these fields: annotations, or annotations and defaults."""
    given = {name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()}
    made: type[NotificationEvent] = create_model(
        "Changing", __base__=NotificationEvent, __cls_kwargs__={"event_type": f"diff.{next(_numbers)}"}, **given
    )
    return made


def compared(old: type[NotificationEvent], new: type[NotificationEvent]) -> list[tuple[str, str, set[str]]]:
    found = Comparison(payload_schema(old), payload_schema(new)).changes()
    return [(change.path, change.change, set(change.breaks)) for change in found]


def fields(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, set[str]]]:
    return compared(event_class(**old), event_class(**new))


class Street(BaseModel):
    street: str


class StreetAndZip(BaseModel):
    street: str
    zip: str = ""


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class LongCard(BaseModel):
    kind: Literal["card"]
    number: str
    holder: str


class Cash(BaseModel):
    kind: Literal["cash"]


class Wire(BaseModel):
    kind: Literal["wire"]
    iban: str


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Forest(BaseModel):
    value: str
    children: list[Forest] = []


class TestFields:
    def test_nothing_changed(self) -> None:
        """Nor do names of classes and descriptions count as a change."""
        old = {"a": int, "b": (Street | None, None), "c": (list[Tree], [])}
        assert fields(old, old) == []
        renamed = create_model("Renamed", __base__=Street, __doc__="Renamed.")
        assert fields({"a": Street}, {"a": renamed}) == []
        assert fields({"a": list[Street]}, {"a": list[renamed]}) == []

    def test_added(self) -> None:
        """Consumers ignore it; without a default, what was written before cannot be read any more."""
        assert fields({"a": int}, {"a": int, "b": (int, 1)}) == [("b", "field-added", NOBODY)]
        assert fields({"a": int}, {"a": int, "b": int}) == [("b", "field-added", PRODUCERS)]

    def test_removed(self) -> None:
        assert fields({"a": int, "b": int}, {"a": int}) == [("b", "field-removed", CONSUMERS)]
        rarely = (int, Field(default=0, exclude_if=lambda value: value == 0))
        assert fields({"a": int, "b": rarely}, {"a": int}) == [("b", "field-removed", NOBODY)]

    def test_renamed(self) -> None:
        assert fields({"a": int}, {"b": int}) == [("b", "field-added", PRODUCERS), ("a", "field-removed", CONSUMERS)]

    def test_not_always_sent_any_more(self) -> None:
        rarely = (int, Field(default=0, exclude_if=lambda value: value == 0))
        always = (int, 0)
        assert fields({"a": always}, {"a": rarely}) == [("a", "no-longer-always-sent", CONSUMERS)]
        assert fields({"a": rarely}, {"a": always}) == [("a", "now-always-sent", NOBODY)]
        assert fields({"a": rarely}, {"a": int}) == [("a", "now-always-sent", PRODUCERS)]

    def test_a_default_is_read_and_not_written(self) -> None:
        assert fields({"a": int}, {"a": (int, 1)}) == []
        assert fields({"a": (int, 1)}, {"a": int}) == []

    def test_nested(self) -> None:
        """In a model, in lists, dictionaries and unions of them; and found once though it is used twice."""
        assert fields({"a": Street}, {"a": StreetAndZip}) == [("a.zip", "field-added", NOBODY)]
        assert fields({"a": StreetAndZip}, {"a": Street}) == [("a.zip", "field-removed", CONSUMERS)]
        assert fields({"a": list[StreetAndZip]}, {"a": list[Street]}) == [("a[].zip", "field-removed", CONSUMERS)]
        old, new = dict[str, StreetAndZip | None], dict[str, Street | None]
        assert fields({"a": old}, {"a": new}) == [("a{}.zip", "field-removed", CONSUMERS)]

    def test_models_that_hold_themselves(self) -> None:
        assert fields({"a": Tree}, {"a": Tree}) == []
        assert ("a.value", "type-changed", BOTH) in fields({"a": Tree}, {"a": Forest})


class Case(NamedTuple):
    old: Any
    new: Any
    change: str
    breaks: set[str]

    def __str__(self) -> str:
        return f"{self.old} to {self.new}".replace("typing.", "")


def limited(annotation: Any, **constraints: Any) -> Any:
    return Annotated[annotation, Field(**constraints)]


CASES = [
    # types
    Case(int, str, "type-changed", BOTH),
    Case(str, list[str], "type-changed", BOTH),
    Case(Street, str, "type-changed", BOTH),
    Case(bool, int, "type-changed", BOTH),
    Case(Literal[True], int, "type-changed", BOTH),
    Case(int, FiniteFloat, "type-changed", CONSUMERS),
    Case(FiniteFloat, int, "type-changed", PRODUCERS),
    Case(FiniteFloat, Decimal, "type-changed", BOTH),
    Case(Any, int, "type-changed", PRODUCERS),
    Case(int, Any, "type-changed", CONSUMERS),
    Case(int | None, str | None, "type-changed", BOTH),
    # null and unions
    Case(int, int | None, "value-added", CONSUMERS),
    Case(int | None, int, "value-removed", PRODUCERS),
    Case(int, int | str, "widened", CONSUMERS),
    Case(int | str, int, "narrowed", PRODUCERS),
    Case(Card | Cash, Card | Cash | Wire, "widened", CONSUMERS),
    Case(Card | Cash | Wire, Card | Cash, "narrowed", PRODUCERS),
    Case(FiniteFloat, float, "value-added", CONSUMERS),
    # single values
    Case(Literal["a", "b"], Literal["a", "b", "c"], "value-added", CONSUMERS),
    Case(Literal["a", "b", "c"], Literal["a", "b"], "value-removed", PRODUCERS),
    Case(Literal["a"], str, "widened", CONSUMERS),
    Case(str, Literal["a"], "narrowed", PRODUCERS),
    Case(Literal[True], bool, "widened", CONSUMERS),
    Case(Literal[1], Literal[True], "value-added", BOTH),
    # constraints
    Case(limited(int, le=5), limited(int, le=9), "widened", CONSUMERS),
    Case(limited(int, le=9), limited(int, le=5), "narrowed", PRODUCERS),
    Case(limited(int, ge=1), int, "widened", CONSUMERS),
    Case(int, limited(int, gt=0), "narrowed", PRODUCERS),
    Case(limited(FiniteFloat, ge=0), limited(FiniteFloat, gt=0), "narrowed", PRODUCERS),
    Case(limited(FiniteFloat, lt=1), limited(FiniteFloat, le=1), "widened", CONSUMERS),
    Case(limited(int, multiple_of=4), limited(int, multiple_of=2), "widened", CONSUMERS),
    Case(limited(int, multiple_of=2), limited(int, multiple_of=4), "narrowed", PRODUCERS),
    Case(limited(int, multiple_of=2), limited(int, multiple_of=3), "not-judged", BOTH),
    Case(limited(str, max_length=5), limited(str, max_length=9), "widened", CONSUMERS),
    Case(limited(str, max_length=5), limited(str, max_length=5, min_length=1), "narrowed", PRODUCERS),
    Case(limited(str, pattern="^a"), limited(str, pattern="^b"), "not-judged", BOTH),
    Case(str, limited(str, pattern="^b"), "narrowed", PRODUCERS),
    Case(str, UUID, "narrowed", PRODUCERS),
    Case(UUID, str, "widened", CONSUMERS),
    Case(limited(list[int], max_length=5), list[int], "widened", CONSUMERS),
    Case(list[int], set[int], "narrowed", PRODUCERS),
    Case(limited(dict[str, int], max_length=5), dict[str, int], "widened", CONSUMERS),
    # containers
    Case(list[int], list[str], "type-changed", BOTH),
    Case(dict[str, int], dict[str, int | None], "value-added", CONSUMERS),
    Case(dict[Literal["a"], int], dict[Literal["a", "b"], int], "value-added", CONSUMERS),
    Case(dict[str, int], dict[UUID, int], "narrowed", PRODUCERS),
    Case(dict[str, int], dict[str, Any], "type-changed", CONSUMERS),
    Case(tuple[int, str], tuple[int, int], "type-changed", BOTH),
    Case(list[int], tuple[int, int], "narrowed", PRODUCERS),
    Case(tuple[int, ...], tuple[int, int], "narrowed", PRODUCERS),
    Case(tuple[int, int], list[int], "widened", CONSUMERS),
]


class TestValues:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_each_change_breaks_whom_it_must(self, case: Case) -> None:
        found = fields({"a": case.old}, {"a": case.new})
        assert case.change in {change for _, change, _ in found}
        assert set().union(*(breaks for *_, breaks in found)) == case.breaks

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_the_other_way_round_it_breaks_the_others(self, case: Case) -> None:
        """The two parties have the same question, with the schemas exchanged."""
        other = {"consumers": "producers", "producers": "consumers"}
        found = fields({"a": case.new}, {"a": case.old})
        assert set().union(*(breaks for *_, breaks in found)) == {other[party] for party in case.breaks}

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (limited(int, ge=1), limited(int, gt=0)),
            (int | str, str | int),
            (Card | Cash, Annotated[Cash | Card, Field(discriminator="kind")]),
            (Literal["a", "b"], Literal["b", "a"]),
            (limited(list[int], min_length=0), list[int]),
            (FiniteFloat, int | FiniteFloat),
        ],
        ids=str,
    )
    def test_another_way_to_say_the_same(self, old: Any, new: Any) -> None:
        assert fields({"a": old}, {"a": new}) == []
        assert fields({"a": new}, {"a": old}) == []

    def test_a_member_of_a_union_is_compared_with_its_own_older_self(self) -> None:
        found = fields({"a": Cash | Card}, {"a": LongCard | Cash})
        assert found == [("a.holder", "field-added", PRODUCERS)]
        assert fields({"a": list[LongCard | Cash]}, {"a": list[Card | Cash]}) == [
            ("a[].holder", "field-removed", CONSUMERS)
        ]

    def test_a_member_that_another_one_replaced(self) -> None:
        """They are told from each other by their tags, and not compared field by field."""
        found = fields({"a": Card | Cash}, {"a": Card | Wire})
        assert found == [("a", "widened", CONSUMERS), ("a", "narrowed", PRODUCERS)]

    def test_the_only_model_is_compared_whatever_its_name(self) -> None:
        found = fields({"a": Cash}, {"a": Wire})
        assert ("a.kind", "value-added", CONSUMERS) in found
        assert ("a.iban", "field-added", PRODUCERS) in found

    def test_keywords_that_nobody_here_knows(self) -> None:
        """What cannot be judged is no green light."""
        old, new = {"a": {"not": {"const": 1}}}, {"a": {"not": {"const": 2}}}
        found = Comparison({"properties": old}, {"properties": new}).changes()
        assert [(c.path, c.change, set(c.breaks)) for c in found] == [("a", "not-judged", BOTH)]

    def test_a_document_that_forbids_other_fields(self) -> None:
        """Not written by us, but it may be the older one."""
        closed = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
        wider = {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": False}
        assert "consumers" in {p for c in Comparison(closed, wider).changes() for p in c.breaks}

    def test_each_change_says_what_was_and_what_is(self) -> None:
        (change,) = Comparison(payload_schema(event_class(a=int)), payload_schema(event_class(a=UUID))).changes()
        assert change.text == "integer became string (uuid)"


class TestEvents:
    def schemas(self, *events: tuple[str, int], **about: Any) -> dict[tuple[str, int], Any]:
        made = document(event_class(a=int), "shop")
        return by_event(
            {**made, "x-event": {**made["x-event"], "type": name, "version": version, **about}}
            for name, version in events
        )

    @pytest.mark.parametrize(
        ("old", "new", "change", "breaks"),
        [
            ([("a", 1)], [("a", 1), ("b", 1)], ("b", 1, "event-added"), NOBODY),
            ([("a", 1), ("b", 1)], [("a", 1)], ("b", 1, "event-removed"), BOTH),
            ([("a", 1)], [("a", 1), ("a", 2)], ("a", 2, "version-added"), NOBODY),
            ([("a", 1), ("a", 2)], [("a", 2)], ("a", 1, "version-removed"), BOTH),
        ],
    )
    def test_events_and_versions(
        self, old: list[tuple[str, int]], new: list[tuple[str, int]], change: tuple[str, int, str], breaks: set[str]
    ) -> None:
        (found,) = changes(self.schemas(*old), self.schemas(*new))
        assert (found.event_type, found.version, found.change.change) == change
        assert (set(found.change.breaks), found.breaking) == (breaks, bool(breaks))

    @pytest.mark.parametrize(("name", "value"), [("topic", "other"), ("kind", "ecst_event")])
    def test_queues_are_bound_by_topic_and_kind(self, name: str, value: str) -> None:
        (found,) = changes(self.schemas(("a", 1)), self.schemas(("a", 1), **{name: value}))
        assert (found.change.change, set(found.change.breaks)) == (f"{name}-changed", BOTH)

    def test_two_schemas_of_one_event(self) -> None:
        with pytest.raises(ValueError, match="two schemas of a version 1"):
            self.schemas(("a", 1), ("a", 1))


class Piece(NamedTuple):
    """A type, and what may be given for it."""

    annotation: Any
    values: st.SearchStrategy[Any]


def literal(values: list[str]) -> Piece:
    return Piece(Literal[tuple(values)], st.sampled_from(values))


def whole(low: int, size: int) -> Piece:
    return Piece(limited(StrictInt, ge=low, le=low + size), st.integers(low, low + size))


def text(low: int, size: int) -> Piece:
    return Piece(limited(str, min_length=low, max_length=low + size), st.text("ab", min_size=low, max_size=low + size))


def optional(piece: Piece) -> Piece:
    return Piece(piece.annotation | None, st.none() | piece.values)


def listed(piece: Piece) -> Piece:
    return Piece(list[piece.annotation], st.lists(piece.values, max_size=2))


def mapped(piece: Piece) -> Piece:
    return Piece(dict[str, piece.annotation], st.dictionaries(st.sampled_from("xy"), piece.values, max_size=2))


def either(one: Piece, other: Piece) -> Piece:
    return Piece(one.annotation | other.annotation, one.values | other.values)


def nested(pieces: dict[str, Piece]) -> Piece:
    return Piece(model(BaseModel, pieces), st.fixed_dictionaries({name: p.values for name, p in pieces.items()}))


def model(base: type[BaseModel], pieces: dict[str, Piece], **keywords: Any) -> Any:
    return create_model(
        "Drawn", __base__=base, __cls_kwargs__=keywords, **{name: (p.annotation, ...) for name, p in pieces.items()}
    )


def some_fields(pieces: st.SearchStrategy[Piece]) -> st.SearchStrategy[dict[str, Piece]]:
    return st.dictionaries(st.sampled_from("pqr"), pieces, min_size=1, max_size=3)


PIECES: st.SearchStrategy[Piece] = st.recursive(
    st.one_of(
        st.just(Piece(StrictInt, st.integers(-9, 9))),
        st.just(Piece(limited(FiniteFloat, strict=True), st.sampled_from([0.5, 1.5, -2.5]))),
        st.just(Piece(StrictBool, st.booleans())),
        st.just(Piece(str, st.text("ab", max_size=3))),
        st.builds(literal, st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3, unique=True)),
        st.builds(whole, st.integers(-1, 1), st.integers(0, 2)),
        st.builds(text, st.integers(0, 1), st.integers(0, 2)),
    ),
    lambda inner: st.one_of(
        st.builds(optional, inner),
        st.builds(listed, inner),
        st.builds(mapped, inner),
        st.builds(either, inner, inner),
        st.builds(nested, some_fields(inner)),
    ),
    max_leaves=4,
)


@st.composite
def two_versions(draw: st.DrawFn) -> tuple[dict[str, Piece], dict[str, Piece]]:
    """Fields of an event, and of an event that may share some of them, as they are or as part of something else."""
    old = draw(some_fields(PIECES))
    change: Callable[[Piece], st.SearchStrategy[Piece]] = lambda piece: st.one_of(  # noqa: E731
        st.just(piece), st.just(optional(piece)), PIECES.map(lambda other: either(piece, other)), PIECES
    )
    new = {name: draw(change(piece)) for name, piece in old.items()}
    if draw(st.booleans()):
        old, new = new, old
    return old, new


@pytest.mark.contract
class TestAgainstPydantic:
    """Whatever was declared harmless, a class that knows the other schema does read."""

    @given(two_versions(), st.data())
    def test_what_breaks_nobody_is_read_by_everybody(
        self, versions: tuple[dict[str, Piece], dict[str, Piece]], data: st.DataObject
    ) -> None:
        old, new = (model(NotificationEvent, pieces, event_type=f"diff.{next(_numbers)}") for pieces in versions)
        found = Comparison(payload_schema(old), payload_schema(new)).changes()
        broken = {party for change in found for party in change.breaks}
        assume(broken != BOTH)
        event(f"{len(found)} changes break {' and '.join(sorted(broken)) or 'nobody'}")
        for party, writer, reader, pieces in (
            ("consumers", new, old, versions[1]),
            ("producers", old, new, versions[0]),
        ):
            values = data.draw(st.fixed_dictionaries({name: piece.values for name, piece in pieces.items()}))
            written = Envelope.of(writer(**values)).data
            jsonschema.validate(json.loads(written), payload_schema(writer))
            if party not in broken:
                jsonschema.validate(json.loads(written), payload_schema(reader))
                try:
                    reader.model_validate_json(written, extra="ignore")
                except ValidationError as error:
                    raise AssertionError(f"{written!r}: {error}") from error
