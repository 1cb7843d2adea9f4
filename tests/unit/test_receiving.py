"""What is made of a message from outside, whoever sent it."""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from pydantic import field_validator

from events_core import DomainEvent, NotificationEvent
from events_core.brokers import Received
from events_core.brokers.formats import format_named
from events_core.catalog import upcaster
from events_core.envelope import Envelope
from events_core.receiving import Accepted, Refused, Skipped, Wanted, examine

CLOUDEVENTS, FLAT = format_named("cloudevents"), format_named("flat")


class Confirmed(NotificationEvent, event_type="receiving.confirmed", version=2):
    amount: int

    @field_validator("amount")
    @classmethod
    def check(cls, value: int) -> int:
        if value == 13:
            raise RuntimeError("a secret amount of 13")
        if value == 14:
            raise SystemExit("a secret amount of 14")
        if value == 15:
            raise MemoryError("a secret amount of 15")
        return value


class Older(NotificationEvent, event_type="receiving.confirmed", version=1):
    amount: int


class Upcast(NotificationEvent, event_type="receiving.upcast", version=2):
    pass


@upcaster("receiving.upcast", from_version=1)
def end(data: dict[str, Any]) -> dict[str, Any]:
    sys.exit(3)


class Internal(DomainEvent, event_type="receiving.internal"):
    amount: int = 0
    seen: ClassVar[list[Any]] = []


class AsDomain(DomainEvent, event_type="receiving.confirmed", version=9):
    amount: int


WANTED: Wanted = {"receiving.confirmed": [Confirmed]}


def cloudevent(event_type: str = "receiving.confirmed", version: int | None = 2, **data: Any) -> Received:
    """A message as an outside producer writes it, by way of our own format."""
    envelope = Envelope.of(Confirmed(amount=1))
    event = Confirmed(amount=1)
    document = json.loads(CLOUDEVENTS.encode(event, Envelope.of(event), "/orders"))
    document |= {"id": envelope.id, "type": event_type, "data": data or {"amount": 7}}
    for name in [name for name in document if "version" in name and name != "specversion"]:
        if version is None:
            del document[name]
        else:
            document[name] = version
    return Received(json.dumps(document).encode(), CLOUDEVENTS.content_type)


def look(received: Received, **options: Any) -> Accepted | Skipped | Refused:
    return examine(received, options.pop("fmt", CLOUDEVENTS), options.pop("wanted", WANTED), 10_000)


def test_an_event_that_was_asked_for() -> None:
    """Decoded into its class; the envelope has its kind from the class, not from the message."""
    verdict = look(cloudevent(amount=7))
    assert isinstance(verdict, Accepted)
    assert isinstance(verdict.event, Confirmed)
    assert (verdict.event.amount, verdict.envelope.kind) == (7, "notification_event")
    assert str(verdict.event.event_id) == verdict.envelope.id


def test_an_older_version_with_a_class_of_its_own() -> None:
    """Not asked for by class, but by type: any version is."""
    verdict = look(cloudevent(version=1))
    assert isinstance(verdict, Accepted)
    assert type(verdict.event) is Older


def test_a_format_that_tells_no_version_means_the_newest_one_wanted() -> None:
    """`flat` and `record` of others, who know of no versions."""
    body = json.dumps({"type": "receiving.confirmed", "amount": 3}).encode()
    verdict = look(Received(body, "application/json", message_id=str(uuid4())), fmt=FLAT)
    assert isinstance(verdict, Accepted)
    assert type(verdict.event) is Confirmed
    assert verdict.envelope.version == 2


def test_a_cloudevent_is_one_whatever_format_the_broker_has() -> None:
    """By its content type."""
    assert isinstance(look(cloudevent(), fmt=FLAT), Accepted)


class TestRefused:
    def test_what_is_no_event(self) -> None:
        """Garbage: no envelope, so nobody can be told whose it is."""
        for body in (b"", b"hello", bytes(range(256)), b"[]", b'{"a": 1}', b"[" * 9_000):
            verdict = look(Received(body, "application/json"))
            assert isinstance(verdict, Refused), body
            assert (verdict.reason, verdict.envelope) == ("undecodable", None)

    def test_what_is_too_large(self) -> None:
        """It is not even decoded."""
        verdict = look(Received(b"x" * 10_001))
        assert isinstance(verdict, Refused)
        assert verdict.reason == "oversize"
        assert "10,001 bytes" in verdict.error

    def test_an_unknown_newer_version(self) -> None:
        """It has its envelope: it can be redriven after an upgrade."""
        verdict = look(cloudevent(version=7))
        assert isinstance(verdict, Refused)
        assert verdict.reason == "unknown_event"
        assert verdict.envelope is not None
        assert verdict.envelope.version == 7

    @pytest.mark.parametrize(
        "data", [{"amount": "secret"}, {"other": 1}, *({"amount": number} for number in (13, 14, 15))]
    )
    def test_a_wrong_schema(self, data: dict[str, Any]) -> None:
        """Also where a validator of the application's fails, wants to end the process, or runs out of memory: it would
        come again for ever. Its values are not told.
        """
        verdict = look(cloudevent(**data))
        assert isinstance(verdict, Refused)
        assert verdict.reason == "invalid"
        assert verdict.envelope is not None
        assert not {"secret", "13", "14", "15"} & set(verdict.error.split())

    def test_an_upcaster_that_wants_to_end_the_process(self) -> None:
        """It ends neither the process nor the thread."""
        verdict = look(cloudevent("receiving.upcast", 1), wanted={"receiving.upcast": [Upcast]})
        assert isinstance(verdict, Refused)
        assert (verdict.reason, verdict.error_type) == ("invalid", "SystemExit")


class TestForged:
    def test_a_type_that_nobody_asked_for(self) -> None:
        """That of a domain event, with handlers here: it is looked up among the wanted ones only."""
        assert isinstance(look(cloudevent("receiving.internal")), Skipped)
        assert isinstance(look(cloudevent("no.such")), Skipped)

    def test_a_version_that_is_a_domain_event(self) -> None:
        """The type was asked for, but what has that version is no integration event."""
        verdict = look(cloudevent(version=9))
        assert isinstance(verdict, Refused)
        assert verdict.reason == "unknown_event"
        assert "is no integration event" in verdict.error
