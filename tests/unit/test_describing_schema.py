"""JSON Schemas of events: they describe what is on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NotRequired
from uuid import UUID, uuid4

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, Json, computed_field
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from events_core import DomainEvent, Event, EventsError, NotificationEvent
from events_core.describing import document, payload_schema
from events_core.envelope import Envelope
from tests.support.processes import child_env


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")
    street: str
    zip: str | None = Field(default=None, alias="postalCode")

    @computed_field
    def label(self) -> str:
        return f"{self.street}!"


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Extra(TypedDict):
    must: int
    may: NotRequired[str]


@dataclass
class Point:
    x: int
    y: int = 0

    @computed_field
    def sum(self) -> int:
        return self.x + self.y


class Confirmed(NotificationEvent, event_type="schema.confirmed", topic="orders"):
    """An order was confirmed."""

    order_id: UUID
    total: Decimal
    address: Address
    paid_by: Card | Cash = Field(discriminator="kind")
    extra: Extra
    point: Point
    rate: float = 1.0
    share: FiniteFloat = 0.5
    number: int = Field(default=1, alias="no")
    raw: Json[list[int]] = Field(default_factory=list)
    file: bytes = b""
    colors: list[Color] = []
    pair: tuple[int, str] = (1, "a")
    by_day: dict[date, int] = {}
    tags: frozenset[str] = frozenset({"c", "a", "b"})
    took: timedelta = timedelta(0)
    at: datetime | None = None
    before: Confirmed | None = None
    secret: str = Field(default="no", exclude=True)
    rarely: int = Field(default=0, exclude_if=lambda value: value == 0)

    @computed_field
    def double(self) -> Decimal:
        return self.total * 2


def confirmed(**changed: Any) -> Confirmed:
    values: dict[str, Any] = {
        "order_id": uuid4(),
        "total": Decimal("1.50"),
        "address": Address(street="Elm St"),
        "paid_by": Card(number="4"),
        "extra": {"must": 1},
        "point": Point(1, 2),
    }
    return Confirmed(**values | changed)


def check(event: Event) -> dict[str, Any]:
    """The data of the event, once it is seen to fit the event's schema."""
    data: dict[str, Any] = json.loads(Envelope.of(event).data)
    schema = document(type(event), "shop")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)
    return data


EVENTS = [
    confirmed(),
    confirmed(paid_by=Cash(), extra={"must": 1, "may": "b"}, rarely=3, at=datetime.fromisoformat("2026-01-01T00:00Z")),
    confirmed(rate=float("nan"), file=b"\xff\x00", raw="[1, 2]", no=3),
    confirmed(rate=float("-inf"), before=confirmed(), colors=[Color.RED], by_day={date(2026, 1, 1): 1}),
]


@pytest.mark.parametrize("event", EVENTS, ids=["plain", "optional", "odd", "nested"])
def test_what_is_written_fits(event: Confirmed) -> None:
    check(event)


@pytest.mark.parametrize("event", EVENTS, ids=["plain", "optional", "odd", "nested"])
def test_fields_are_those_that_are_written_and_no_others(event: Confirmed) -> None:
    """No id and time, no computed or excluded field; names and not aliases; defaults are written too."""
    data, schema = check(event), document(Confirmed, "shop")
    assert set(schema["required"]) <= set(data) <= set(schema["properties"])
    assert set(schema["properties"]) - set(schema["required"]) == {"rarely"}
    assert set(data["address"]) == set(schema["$defs"]["Address"]["properties"])
    assert set(data["point"]) == set(schema["$defs"]["Point"]["properties"])
    assert not {"event_id", "occurred_at"} & set(schema["properties"])


def test_an_event_within_an_event_keeps_its_id_and_time() -> None:
    assert {"event_id", "occurred_at"} <= set(document(Confirmed, "shop")["$defs"]["Confirmed"]["required"])


def test_what_a_reader_can_do_without_has_a_default() -> None:
    needed = ["order_id", "total", "address", "paid_by", "extra", "point"]
    assert document(Confirmed, "shop")["x-needed-to-read"] == needed


def test_it_says_whose_it_is() -> None:
    schema = document(Confirmed, "shop")
    about = {"type": "schema.confirmed", "version": 1, "kind": "notification_event", "topic": "orders"}
    assert (schema["x-event"], schema["title"]) == (about, "Confirmed")
    assert schema["description"] == "An order was confirmed."


def test_further_fields_are_allowed_though_the_class_refuses_them() -> None:
    """A newer producer may add some; readers ignore them."""
    jsonschema.Draft202012Validator(document(Confirmed, "shop")).validate(
        {**check(confirmed()), "added": 1, "address": {"street": "Elm St", "zip": None, "added": 1}}
    )


def test_a_field_of_that_name_stays() -> None:
    class Odd(DomainEvent, event_type="schema.odd"):
        additionalProperties: bool = False
        event: dict[str, Any] = {"additionalProperties": False}

    schema = document(Odd, "shop")
    assert set(schema["properties"]) == {"additionalProperties", "event"}
    assert schema["properties"]["event"]["default"] == {"additionalProperties": False}
    assert "topic" not in schema["x-event"]
    check(Odd())


def test_a_field_that_cannot_be_described_says_so() -> None:
    class Strange:
        pass

    class Holding(DomainEvent, event_type="schema.strange", arbitrary_types_allowed=True):
        what: Strange

    with pytest.raises(EventsError, match=r"Holding has a field that JSON Schema cannot describe .*WithJsonSchema"):
        payload_schema(Holding)


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """The order of a set differs from process to process; that of its default in the schema does not."""
    code = (
        "import json; from events_core import DomainEvent; from events_core.describing import document\n"
        "class Tagged(DomainEvent, event_type='schema.tagged'):\n"
        "    tags: set[str] = {'a', 'b', 'c', 'd', 'e'}\n"
        "    deeper: dict[str, set[str]] = {'all': {'a', 'b', 'c', 'd', 'e'}}\n"
        "print(json.dumps(document(Tagged, 'shop')))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=child_env({"PYTHONHASHSEED": seed}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
