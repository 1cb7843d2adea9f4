"""Formats of integration events: what they write, and that it comes back as far as each of them carries it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from events_core.brokers.base import Format, Received
from events_core.brokers.formats import format_named
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EventDefinitionError
from events_core.events import ECSTEvent, IntegrationEvent, NotificationEvent

NAMES = ("cloudevents", "classic", "flat", "record")
EVENT_ID = UUID("0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10")
CAUSE_ID = "0198c0de-4c29-7d31-9f0e-5b6c7d8e9f11"
WHEN = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Shade(Enum):
    DARK = "dark"


class Line(BaseModel):
    sku: str
    price: Decimal = Field(alias="unitPrice")


class Confirmed(NotificationEvent, event_type="formats.confirmed", version=3):
    order_id: UUID
    note: str = ""
    count: int = 0
    ratio: float = 0.0
    due: date | None = None
    shade: Shade = Shade.DARK
    raw: bytes = b""
    lines: list[Line] = []
    rest: dict[str, Any] = {}


class CustomerChanged(ECSTEvent, event_type="formats.customer", entity_key="customer_id", entity_version="revision"):
    customer_id: UUID | int | str | Shade | datetime | None
    revision: int


class Empty(NotificationEvent, event_type="formats.empty"): ...


class Open(NotificationEvent, event_type="formats.open", extra="allow"): ...


class Typed(NotificationEvent, event_type="formats.typed"):
    type: str


class Parted(NotificationEvent, event_type="formats.parted", partition_key="region"):
    region: str


@pytest.fixture(params=NAMES)
def form(request: pytest.FixtureRequest) -> Format:
    return format_named(request.param)


def written(form: Format | str, event: IntegrationEvent, envelope: Envelope | None = None) -> Any:
    form = format_named(form) if isinstance(form, str) else form
    return json.loads(form.encode(event, envelope or Envelope.of(event), "/shop"))


def sent(form: Format, event: IntegrationEvent, envelope: Envelope) -> Received:
    """The message as a broker with properties hands it over."""
    return Received(
        form.encode(event, envelope, "/shop"),
        form.content_type,
        message_id=envelope.id,
        timestamp=event.occurred_at.timestamp(),
        topic="orders",
        routing_key=f"{envelope.kind}.{envelope.type}",
    )


class TestNames:
    def test_each_name_has_its_format(self) -> None:
        assert [format_named(name).name for name in NAMES] == list(NAMES)

    def test_another_name_tells_the_choices(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'avro'.*cloudevents, classic, flat, record"):
            format_named("avro")


class TestWritten:
    """Literally, and in this order: others read by it."""

    EVENT = Confirmed(order_id=UUID(int=7), count=2, event_id=EVENT_ID, occurred_at=WHEN)
    DATA = (
        b'{"order_id":"00000000-0000-0000-0000-000000000007","note":"","count":2,"ratio":0.0,"due":null,'
        b'"shade":"dark","raw":"","lines":[],"rest":{}}'
    )

    def encoded(self, name: str) -> bytes:
        return format_named(name).encode(self.EVENT, Envelope.of(self.EVENT), "/shop")

    def test_cloudevents(self) -> None:
        assert self.encoded("cloudevents") == (
            b'{"specversion":"1.0","id":"0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10","source":"/shop",'
            b'"type":"formats.confirmed","time":"2026-03-01T12:00:00.250000+00:00",'
            b'"datacontenttype":"application/json","eventversion":3,'
            b'"correlationid":"0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10","hops":0,"data":' + self.DATA + b"}"
        )

    def test_classic(self) -> None:
        assert self.encoded("classic") == (
            b'{"message_type":"notification_event","message_name":"formats.confirmed",'
            b'"message_id":"0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10",'
            b'"payload":{"event_id":"0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10",'
            b'"event_timestamp":"2026-03-01T12:00:00.250000+00:00",' + self.DATA[1:] + b"}"
        )

    def test_classic_calls_state_transfer_by_its_name(self) -> None:
        assert written("classic", CustomerChanged(customer_id=1, revision=1))["message_type"] == "ecst_event"

    def test_flat(self) -> None:
        assert self.encoded("flat") == b'{"type":"formats.confirmed","version":3,' + self.DATA[1:]

    def test_record(self) -> None:
        assert self.encoded("record") == (
            b'{"event_id":"0198c0de-4c2a-7d31-9f0e-5b6c7d8e9f10","event_type":"formats.confirmed",'
            b'"occurred_at":"2026-03-01T12:00:00.250000+00:00","payload":' + self.DATA + b"}"
        )

    def test_an_event_without_fields_is_json_too(self, form: Format) -> None:
        event = Empty()
        assert form.decode(sent(form, event, Envelope.of(event))).data == b"{}"


class TestNamesOfTheFormat:
    """A field that has a name of the format's own would be there twice."""

    def test_a_field_type_is_refused_by_flat_alone(self) -> None:
        event = Typed(type="x")
        with pytest.raises(EventDefinitionError, match=r"formats\.typed: the format 'flat' .* type"):
            written("flat", event)
        assert all(written(name, event) for name in NAMES if name != "flat")

    @pytest.mark.parametrize("form, extra", [("classic", "event_timestamp"), ("flat", "version")])
    def test_so_is_an_extra_one(self, form: str, extra: str) -> None:
        with pytest.raises(EventDefinitionError, match=extra):
            written(form, Open.model_validate({extra: 1}))
        assert written(form, Open.model_validate({"other": 1}))


class TestExtensions:
    def test_what_led_to_the_event(self) -> None:
        event = Empty()
        envelope = replace(Envelope.of(event), correlation_id="c", causation_id=CAUSE_ID, hops=4, traceparent=TRACE)
        found = written("cloudevents", event, envelope)
        assert [found[name] for name in ("correlationid", "causationid", "hops", "traceparent")] == [
            *("c", CAUSE_ID, 4, TRACE)
        ]

    def test_what_is_unknown_is_not_there(self) -> None:
        found = written("cloudevents", Empty())
        assert not {"causationid", "traceparent", "partitionkey", "sequence", "sequencetype"} & set(found)

    @pytest.mark.parametrize(
        "key, text",
        [
            (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (42, "42"),
            ("é|x", "é|x"),
            (Shade.DARK, "dark"),
            (WHEN, "2026-03-01T12:00:00.250000Z"),
        ],
    )
    def test_the_entity_key_is_the_partition_key_as_text(self, key: Any, text: str) -> None:
        assert written("cloudevents", CustomerChanged(customer_id=key, revision=1))["partitionkey"] == text

    @pytest.mark.parametrize("key", [None, "", "a\nb", "\x9f"])
    def test_what_no_attribute_can_hold_is_no_partition_key(self, key: Any) -> None:
        assert "partitionkey" not in written("cloudevents", CustomerChanged(customer_id=key, revision=1))

    def test_any_integration_event_may_name_one(self) -> None:
        assert written("cloudevents", Parted(region="eu"))["partitionkey"] == "eu"

    def test_the_entity_version_is_the_sequence(self) -> None:
        found = written("cloudevents", CustomerChanged(customer_id=1, revision=12))
        assert (int(found["sequence"]), found["sequencetype"]) == (12, "Integer")

    @given(st.integers(0, 10**19 - 1), st.integers(0, 10**19 - 1))
    def test_sequences_sort_as_texts(self, one: int, other: int) -> None:
        first, second = (
            written("cloudevents", CustomerChanged(customer_id=1, revision=revision))["sequence"]
            for revision in (one, other)
        )
        assert (first < second) == (one < other)

    @pytest.mark.parametrize("revision, there", [(-1, False), (10**19, False), (0, True), (2**31, True)])
    def test_what_the_type_integer_cannot_hold_does_not_claim_it(self, revision: int, there: bool) -> None:
        found = written("cloudevents", CustomerChanged(customer_id=1, revision=revision))
        assert ("sequence" in found) is there
        assert "sequencetype" not in found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVENTS: st.SearchStrategy[IntegrationEvent] = st.one_of(
    st.builds(
        Confirmed,
        event_id=st.uuids(),
        occurred_at=st.datetimes(timezones=st.just(UTC)),
        order_id=st.uuids(),
        note=st.text() | st.just("Infinity"),
        count=st.integers(),
        ratio=st.floats(allow_nan=False),
        due=st.none() | st.dates(),
        raw=st.binary(),
        lines=st.lists(st.builds(Line, sku=st.text(), unitPrice=st.decimals(allow_nan=False, allow_infinity=False))),
        rest=st.dictionaries(st.text(), JSON, max_size=3),
    ),
    st.builds(
        CustomerChanged,
        event_id=st.uuids(),
        occurred_at=st.datetimes(timezones=st.just(UTC)),
        customer_id=st.uuids() | st.text(),
        revision=st.integers(),
    ),
)
CAUSES = st.none() | st.builds(
    Envelope,
    st.uuids().map(str),
    st.just("x"),
    st.just(1),
    st.just("domain_event"),
    st.just(WHEN.isoformat()),
    st.uuids().map(str) | st.sampled_from(["order 7", '\u2603\\"']),
    st.none(),
    st.integers(0, 30),
    st.just(b"{}"),
)


class TestRoundTrip:
    @given(EVENTS, CAUSES, st.none() | st.just(TRACE))
    def test_cloudevents_carry_everything(
        self, event: IntegrationEvent, cause: Envelope | None, traceparent: str | None
    ) -> None:
        form = format_named("cloudevents")
        envelope = Envelope.of(event, cause, traceparent)
        message = Received(form.encode(event, envelope, "/shop"), routing_key=f"{envelope.kind}.{envelope.type}")
        assert form.decode(message) == envelope
        assert form.decode(message).event() == event

    @pytest.mark.parametrize("name", ["classic", "record"])
    @given(EVENTS)
    def test_classic_and_record_carry_all_but_the_version(self, name: str, event: IntegrationEvent) -> None:
        form, envelope = format_named(name), Envelope.of(event)
        message = Received(form.encode(event, envelope, "/shop"), routing_key=f"{envelope.kind}.{envelope.type}")
        assert form.decode(message) == replace(envelope, version=0)

    @given(EVENTS)
    def test_flat_carries_the_version_and_the_message_the_rest(self, event: IntegrationEvent) -> None:
        form, envelope = format_named("flat"), Envelope.of(event)
        found = form.decode(sent(form, event, envelope))
        assert replace(found, occurred_at=envelope.occurred_at) == envelope
        assert abs(datetime.fromisoformat(found.occurred_at) - event.occurred_at) < timedelta(milliseconds=1)

    def test_json_written_otherwise_is_the_same(self, form: Format) -> None:
        """Spaces, other orders and escapes: another library's hand."""
        event = Confirmed(order_id=uuid4(), note="é/", occurred_at=WHEN)
        message = sent(form, event, Envelope.of(event))
        spaced = json.dumps(json.loads(message.body), indent=2, sort_keys=True).replace("/", "\\/").encode()
        found, expected = form.decode(replace(message, body=spaced)), form.decode(message)
        assert json.loads(found.data) == json.loads(expected.data)
        assert replace(found, data=b"") == replace(expected, data=b"")


class TestIds:
    def test_a_uuid_stays_however_it_is_written(self) -> None:
        for text in (str(EVENT_ID), str(EVENT_ID).upper(), EVENT_ID.hex, EVENT_ID.urn):
            assert decoded("cloudevents", id=text).id == str(EVENT_ID)

    @pytest.mark.parametrize(
        "name, field, origin",
        [
            ("cloudevents", "id", "/shop"),
            ("classic", "message_id", "orders"),
            ("record", "event_id", "orders"),
        ],
    )
    def test_another_id_becomes_one_by_its_source(self, name: str, field: str, origin: str) -> None:
        assert decoded(name, timestamp=None, **{field: "A-1"}).id == str(uuid5(NAMESPACE_URL, f"{origin} A-1"))

    def test_flat_takes_that_of_the_message(self) -> None:
        body = b'{"type":"formats.empty"}'
        form = format_named("flat")
        assert form.decode(Received(body, message_id=str(EVENT_ID))).id == str(EVENT_ID)
        assert form.decode(Received(body, message_id="7", topic="t")).id == str(uuid5(NAMESPACE_URL, "t 7"))

    def test_without_any_equal_bodies_are_one_event(self) -> None:
        form = format_named("flat")
        one, again, other, elsewhere = (
            form.decode(Received(b'{"type":"a","n":%d}' % n, topic=topic)).id
            for n, topic in ((1, "t"), (1, "t"), (2, "t"), (1, "u"))
        )
        assert one == again == str(uuid5(NAMESPACE_URL, 't {"type":"a","n":1}'))
        assert len({one, other, elsewhere}) == 3

    def test_an_id_among_the_data_is_not_the_events(self, form: Format) -> None:
        """A sender cannot pass one id to what recognises repeats, and another to the handler."""
        event = Open(event_id=EVENT_ID, occurred_at=WHEN)
        envelope = replace(Envelope.of(event), data=b'{"event_id":"forged","occurred_at":"forged","other":1}')
        message = sent(form, event, envelope)
        if form.name == "classic":  # which has one of the two there
            message.body = message.body.replace(b'"event_id":"forged",', b"")
        found = form.decode(message)
        assert found.data == b'{"other":1}'


class TestTimes:
    @pytest.mark.parametrize("text", ["2026-03-01T12:00:00.25Z", "2026-03-01T13:00:00.250+01:00"])
    def test_they_become_utc(self, text: str) -> None:
        assert decoded("cloudevents", time=text).occurred_at == WHEN.isoformat()

    def test_diator_writes_utc_without_saying_so(self) -> None:
        message = json.loads(CLASSIC_OF_DIATOR)
        found = format_named("classic").decode(Received(json.dumps(message).encode()))
        assert found.occurred_at == "2023-03-07T09:26:02.588855+00:00"
        assert (found.type, found.data) == ("UserJoinedNotificationEvent", b'{"user_id":123}')

    @pytest.mark.parametrize("name", ["cloudevents", "flat"])
    def test_without_one_it_is_that_of_the_message(self, name: str) -> None:
        assert decoded(name, timestamp=WHEN.timestamp(), time=None).occurred_at == WHEN.isoformat()

    @pytest.mark.parametrize("name", ["cloudevents", "flat"])
    def test_without_that_it_is_now(self, name: str) -> None:
        before = datetime.now(UTC)
        assert before <= datetime.fromisoformat(decoded(name, time=None).occurred_at) <= datetime.now(UTC)


CLASSIC_OF_DIATOR = """
{"message_type":"notification_event","message_name":"UserJoinedNotificationEvent",
 "message_id":"9f62e977-73f7-462b-92cb-8ea658d3bcb5",
 "payload":{"event_id":"9f62e977-73f7-462b-92cb-8ea658d3bcb5",
            "event_timestamp":"2023-03-07T09:26:02.588855","user_id":123}}
"""


def decoded(name: str, *, timestamp: float | None = None, **fields: Any) -> Envelope:
    """What an event of that format is read as, with these of its fields."""
    form = format_named(name)
    members = json.loads(form.encode(EMPTY, Envelope.of(EMPTY), "/shop")) | fields
    if name == "flat":
        members.pop("time", None)
    return form.decode(Received(json.dumps(members).encode(), topic="orders", timestamp=timestamp))


EMPTY = Empty(event_id=EVENT_ID, occurred_at=WHEN)


class TestTrace:
    def test_it_may_stand_in_the_headers_of_any_format(self, form: Format) -> None:
        message = sent(form, EMPTY, Envelope.of(EMPTY))
        assert form.decode(replace(message, headers={"traceparent": TRACE})).traceparent == TRACE

    @pytest.mark.parametrize("wrong", [7, "", "00-1-2-01", TRACE.upper(), TRACE + "-x", "ff" + TRACE[2:]])
    def test_a_wrong_one_costs_no_event(self, wrong: Any) -> None:
        assert decoded("cloudevents", traceparent=wrong).traceparent is None


class TestOthersHands:
    def test_numbers_that_became_texts_on_their_way(self) -> None:
        found = decoded("cloudevents", eventversion="2", hops="07")
        assert (found.version, found.hops) == (2, 7)

    def test_no_version_is_nought(self) -> None:
        assert decoded("cloudevents", eventversion=None).version == decoded("flat", version=None).version == 0

    def test_null_attributes_are_absent(self) -> None:
        found = decoded("cloudevents", correlationid=None, causationid=None, hops=None, datacontenttype=None)
        assert (found.correlation_id, found.causation_id, found.hops) == (found.id, None, 0)

    def test_binary_data_that_is_json(self) -> None:
        message = json.loads(format_named("cloudevents").encode(EMPTY, Envelope.of(EMPTY), "/shop"))
        del message["data"]
        message |= {"data_base64": "eyJhIjoxfQ==", "datacontenttype": "application/vnd.shop+json; charset=utf-8"}
        assert format_named("cloudevents").decode(Received(json.dumps(message).encode())).data == b'{"a":1}'

    def test_a_record_whose_payload_is_a_text(self) -> None:
        """As fields of an entry of a Redis stream are."""
        assert decoded("record", payload='{"a": 1}').data == b'{"a":1}'

    def test_a_record_that_tells_more(self) -> None:
        """As entries of ours do, where every value is a text."""
        more = {"version": "2", "correlation_id": "c", "causation_id": CAUSE_ID, "hops": "3", "traceparent": TRACE}
        found = decoded("record", timestamp=None, **more)
        assert (found.version, found.correlation_id, found.causation_id, found.hops) == (2, "c", CAUSE_ID, 3)
        assert found.traceparent == TRACE
