"""docs/message-format.md: its integration events are what we write, and what we read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from events_core.brokers.base import Received
from events_core.brokers.formats import format_named
from events_core.envelope import Envelope
from events_core.errors import InvalidEnvelope
from events_core.events import ECSTEvent
from tests.support import markdown
from tests.support.markdown import code_words, table
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "message-format.md"
NAMES = ("cloudevents", "classic", "flat", "record")
#: The first one on the page is a delivery.
EXAMPLES = [block.code for block in markdown.blocks(PAGE) if block.language == "json"][1:]


class CustomerChanged(
    ECSTEvent, event_type="customer.changed", version=2, entity_key="customer_id", entity_version="revision"
):
    customer_id: UUID
    revision: int
    email: str


EVENT = CustomerChanged(
    event_id=UUID("0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10"),
    occurred_at=datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC),
    customer_id=UUID("7d9f3c1e-0b8a-4a54-9b1c-2f6a4e0d5c3b"),
    revision=7,
    email="ada@example.com",
)
CAUSE = "0198c0de-4a11-7c52-8d3b-1f2e3d4c5b6a"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENVELOPE = replace(Envelope.of(EVENT), correlation_id=CAUSE, causation_id=CAUSE, hops=1, traceparent=TRACE)


def test_each_format_is_listed_and_has_an_example() -> None:
    assert [code_words(row[0])[0] for row in table(PAGE, "format")] == list(NAMES)
    assert len(EXAMPLES) == len(NAMES)


@pytest.mark.parametrize("name, example", [*zip(NAMES, EXAMPLES, strict=True)], ids=NAMES)
def test_its_example_is_what_we_write(name: str, example: str) -> None:
    """Its members in the same order too."""
    written = format_named(name).encode(EVENT, ENVELOPE, "/shop")
    assert json.dumps(json.loads(example)) == json.dumps(json.loads(written))


@pytest.mark.parametrize("name, example", [*zip(NAMES, EXAMPLES, strict=True)], ids=NAMES)
def test_its_example_is_read_as_the_event(name: str, example: str) -> None:
    """With the properties that the page tells of."""
    message = Received(
        example.encode(),
        format_named(name).content_type,
        message_id=ENVELOPE.id,
        timestamp=EVENT.occurred_at.timestamp(),
    )
    found = format_named(name).decode(message)
    assert replace(found, version=found.version or 2).event() == EVENT


def test_the_content_types_are_the_ones_shown() -> None:
    text = PAGE.read_text()
    for name, heading in zip(NAMES, ("CloudEvents", "Classic", "Flat", "Record"), strict=True):
        assert f"### {heading}\n`{format_named(name).content_type}`" in text


def test_every_attribute_is_there() -> None:
    assert [code_words(row[0])[0] for row in table(PAGE, "attribute")] == list(json.loads(EXAMPLES[0]))


@pytest.mark.parametrize("row", table(PAGE, "attribute"), ids=lambda row: row[0])
def test_those_that_are_required_are_and_no_others(row: list[str]) -> None:
    """An outside producer may leave out the rest."""
    name, required = code_words(row[0])[0], "Required" in row[2]
    attributes = json.loads(EXAMPLES[0])
    del attributes[name]
    message = Received(json.dumps(attributes).encode())
    if required:
        with pytest.raises(InvalidEnvelope, match=f"'{name}'"):
            format_named("cloudevents").decode(message)
    else:
        assert format_named("cloudevents").decode(message).type == "customer.changed"
