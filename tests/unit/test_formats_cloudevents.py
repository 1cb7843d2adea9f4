"""CloudEvents and its official SDK: each reads what the other writes, and finds the same in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from cloudevents.core.bindings import rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion
from cloudevents.v1 import http as version_1
from hypothesis import given
from hypothesis import strategies as st

from events_core.brokers.base import Received
from events_core.brokers.formats import format_named
from events_core.envelope import Envelope
from events_core.events import ECSTEvent

OURS = format_named("cloudevents")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Moved(ECSTEvent, event_type="sdk.moved", version=2, entity_key="person", entity_version="revision"):
    person: str
    revision: int
    to: dict[str, Any] = {}


EVENTS = st.builds(
    Moved,
    event_id=st.uuids(),
    occurred_at=st.datetimes(timezones=st.just(UTC)),
    person=st.text(),
    revision=st.integers(-3, 2**65),
    to=st.dictionaries(st.text(), st.text() | st.integers(-(2**80), 2**80) | st.booleans() | st.none()),
)
CAUSE = Envelope(str(UUID(int=5)), "a", 1, "domain_event", "2026-03-01T12:00:00+00:00", "order é", None, 2, b"{}")


class TestTheSdkReadsUs:
    @given(EVENTS, st.none() | st.just(CAUSE))
    def test_every_attribute_and_the_data(self, event: Moved, cause: Envelope | None) -> None:
        envelope = Envelope.of(event, cause, TRACE)
        found = JSONFormat().read(None, OURS.encode(event, envelope, "/shop"))
        assert isinstance(found, CloudEvent)
        assert (found.get_specversion(), found.get_id(), found.get_source()) == ("1.0", envelope.id, "/shop")
        assert (found.get_type(), found.get_time()) == ("sdk.moved", event.occurred_at)
        assert found.get_datacontenttype() == "application/json"
        assert found.get_data() == json.loads(envelope.data)
        names = ("eventversion", "correlationid", "causationid", "hops", "traceparent")
        assert [found.get_extension(name) for name in names] == [
            *(2, envelope.correlation_id, envelope.causation_id, envelope.hops, TRACE)
        ]

    @given(EVENTS)
    def test_what_it_writes_of_that_is_the_same_event(self, event: Moved) -> None:
        """There and back again, through a service that relays events with the SDK."""
        envelope = Envelope.of(event, CAUSE, TRACE)
        relayed = JSONFormat().write(JSONFormat().read(None, OURS.encode(event, envelope, "/shop")))
        assert same(OURS.decode(Received(relayed, routing_key="ecst_event.sdk.moved")), envelope)

    @given(EVENTS)
    def test_so_does_its_first_version(self, event: Moved) -> None:
        envelope = Envelope.of(event, CAUSE)
        found = version_1.from_json(OURS.encode(event, envelope, "/shop"))
        assert (found["id"], found["type"], found["hops"]) == (envelope.id, "sdk.moved", 3)
        relayed = conversion.to_json(found)
        assert same(OURS.decode(Received(relayed, routing_key="ecst_event.sdk.moved")), envelope)

    def test_its_binding_for_rabbitmq_knows_us_by_the_content_type(self) -> None:
        event = Moved(person="ada", revision=1)
        body = OURS.encode(event, Envelope.of(event), "/shop")
        message = rabbitmq.RabbitMQMessage(headers={}, content_type=OURS.content_type, body=body)
        assert rabbitmq.from_rabbitmq_event(message).get_id() == str(event.event_id)


def same(one: Envelope, other: Envelope) -> bool:
    """Their data may be spelled differently."""
    return json.loads(one.data) == json.loads(other.data) and replace(one, data=b"") == replace(other, data=b"")


class TestWeReadTheSdk:
    @given(
        st.datetimes(timezones=st.timezones()).filter(lambda moment: 1 < moment.year < 9999),
        st.uuids(),
        st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans())),
    )
    def test_whatever_it_writes(self, moment: datetime, event_id: UUID, data: dict[str, Any]) -> None:
        attributes = {"type": "sdk.moved", "source": "/crm", "id": str(event_id), "time": moment, "eventversion": 2}
        message = rabbitmq.to_structured_event(CloudEvent(attributes, data))
        found = OURS.decode(Received(message.body, message.content_type or ""))
        assert (found.id, found.type, found.version) == (str(event_id), "sdk.moved", 2)
        assert found.occurred_at == moment.astimezone(UTC).isoformat()
        assert json.loads(found.data) == data

    def test_what_it_fills_in_itself(self) -> None:
        """id and time, where its user gave none."""
        body = JSONFormat().write(CloudEvent({"type": "sdk.moved", "source": "/crm"}, {"person": "ada"}))
        found, told = OURS.decode(Received(body)), json.loads(body)
        assert found.id == told["id"]
        assert datetime.fromisoformat(found.occurred_at) == datetime.fromisoformat(told["time"])

    @pytest.mark.parametrize("content_type", [None, "application/json", "application/vnd.crm+json"])
    def test_bytes_of_json(self, content_type: str | None) -> None:
        """Which it writes as data_base64."""
        attributes = {"type": "sdk.moved", "source": "/crm", "id": "A-1"}
        if content_type is not None:
            attributes["datacontenttype"] = content_type
        body = JSONFormat().write(CloudEvent(attributes, b'{"person": "ada"}'))
        found = OURS.decode(Received(body))
        assert b"data_base64" in body
        assert found.data == b'{"person":"ada"}'
        assert found.id == str(uuid5(NAMESPACE_URL, "/crm A-1"))

    def test_what_its_first_version_writes(self) -> None:
        event = version_1.CloudEvent({"type": "sdk.moved", "source": "/crm"}, {"person": "ada"})
        found = OURS.decode(Received(conversion.to_json(event), "application/cloudevents+json; charset=UTF-8"))
        assert (found.id, found.data) == (event["id"], b'{"person":"ada"}')
