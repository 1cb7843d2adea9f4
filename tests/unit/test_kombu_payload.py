"""Messages as kombu's virtual transports carry them: whatever somebody put there becomes something that can be kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.transport.virtual import Channel
from pydantic_core import to_json

from events_core.brokers.base import Received
from events_core.brokers.exchange.kombu_payload import received
from events_core.publishing.stored import StoredMessage
from events_core.receiving import Refused
from events_core.transport.payload import decode
from events_worker.dead_letters import DeadLetter
from events_worker.outcome import Dead
from events_worker.subscriptions.deliveries import raw_letter

DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]


def decode_body(body: Any, encoding: Any) -> Any:
    return Channel.codecs[encoding].decode(body) if encoding else body


def read(properties: dict[str, Any] | None = None, **parts: Any) -> Received:
    """What is read of a message in a stream, some of whose parts are these."""
    own = {"delivery_info": {"exchange": "orders", "routing_key": "key"}, "delivery_tag": "1", "body_encoding": None}
    message = {"body": "body", "content-type": "text/plain", "headers": {}, **parts}
    raw = json.dumps({**message, "properties": {**own, **(properties or {})}}).encode()
    return received(decode(raw, "queue", decode_body), decode_body)


def test_one_in_order() -> None:
    found = read({"message_id": "1", "type": "t", "timestamp": 5})
    expected = Received(b"body", "text/plain", {}, "1", "t", "orders", "key", 5)
    assert found == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (DEEP, json.dumps(DEEP).encode()),
        ({"a": "\ud800"}, b'{"a": "\\ud800"}'),
        ("\ud800", b"?"),
        (5, b"5"),
        (None, b"null"),
    ],
)
def test_a_body_that_is_no_text(body: Any, expected: bytes) -> None:
    assert read(body=body).body == expected


def test_lone_surrogates_and_times_of_no_clock() -> None:
    """Nothing of it would go into a header, a log, a Redis or a UUID."""
    found = read(
        {
            "message_id": "\ud800",
            "type": "a\udfff",
            "timestamp": 10**400,
            "delivery_info": {"exchange": "\ud800", "routing_key": "\ud800"},
        },
        headers={"bad": "\ud800", "deep": DEEP, "\ud800": 1, "good": 1},
        **{"content-type": "\ud800"},
    )
    assert found == Received(b"body", "?", {"good": 1}, "?", "a?", "?", "?")
    to_json(found.headers)


@pytest.mark.parametrize("properties", [{"timestamp": float("nan")}, {"timestamp": "x"}, {"message_id": 5}])
def test_properties_of_another_type(properties: dict[str, Any]) -> None:
    assert read(properties) == Received(b"body", "text/plain", topic="orders", routing_key="key")


def test_what_cannot_be_read_at_all_is_empty() -> None:
    """Its reader refuses it, and it is accounted for; an error would come again and again, and block the queue."""

    def fail(body: Any, encoding: Any) -> Any:
        raise LookupError("no such encoding")

    assert received({"body": 1, "headers": {}, "properties": {"delivery_info": {}}}, fail) == Received(b"")
    assert received({}, fail) == Received(b"")


def test_a_dead_letter_of_an_id_that_is_no_text() -> None:
    """From a broker of somebody's own, which may let anything through."""
    refused = Refused("undecodable", "no event", "InvalidEnvelope", None)
    one, again = (raw_letter("queue", Received(b"x", message_id="\ud800"), refused) for _ in range(2))
    assert one.id == again.id


def test_a_dead_letter_keeps_of_its_properties_what_can_be_stored() -> None:
    """However much somebody put there, and whatever it is."""
    refused = Refused("undecodable", "no event", "InvalidEnvelope", None)
    odd: Any = "\ud800" * 9000
    headers = {**{f"{number}": number for number in range(100)}, "odd": float("nan"), "bytes": b"x"}
    letter = raw_letter("queue", Received(b"x", odd, headers, odd, odd, odd, odd, float("inf")), refused)
    stored = DeadLetter.from_json(letter.to_json())
    assert stored == letter
    assert stored.received is not None
    assert stored.received.pop("headers") == {f"{number}": number for number in range(50)}
    assert stored.received.pop("timestamp") is None
    assert {name: len(value) for name, value in stored.received.items()} == {
        "topic": 255,
        "routing_key": 255,
        "content_type": 255,
        "message_id": 8192,
        "type": 255,
    }


def test_a_letter_without_properties_is_stored_as_older_code_knows_it() -> None:
    """Both ways: what is stored without the field is read, and what has none is stored without it."""
    letter = DeadLetter.of("1", StoredMessage("", "queue", {}, ""), Dead("undecodable"), starts=0, first_at=0, raw="")
    stored = letter.to_json()
    assert "received" not in json.loads(stored)
    assert DeadLetter.from_json(stored) == letter
