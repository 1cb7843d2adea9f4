"""What anyone may send: an envelope that is sound, or InvalidEnvelope that names the field and no value."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events_core.brokers.base import Format, Received
from events_core.brokers.formats import format_named
from events_core.brokers.formats.reading import is_json
from events_core.envelope import Envelope
from events_core.errors import InvalidEnvelope
from events_core.events import NotificationEvent

NAMES = ("cloudevents", "classic", "flat", "record")
SECRET = "tok-3c9fXQ"


class Told(NotificationEvent, event_type="garbage.told"):
    number: int


EVENT = Told(number=1, event_id=UUID(int=7), occurred_at=datetime(2026, 3, 1, tzinfo=UTC))


def good(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(format_named(name).encode(EVENT, Envelope.of(EVENT), "/shop"))
    return found


def check(form: Format, message: Received) -> Envelope | None:
    """The only two ends there are."""
    try:
        envelope = form.decode(message)
    except InvalidEnvelope:
        return None
    assert str(UUID(envelope.id)) == envelope.id
    assert 0 < len(envelope.type) <= 200
    assert " " not in envelope.type
    assert 0 <= envelope.version < 2**31
    assert 0 <= envelope.hops < 2**31
    assert datetime.fromisoformat(envelope.occurred_at).tzinfo is not None
    # Celery's JSON carries it, and it is the same at the other end.
    assert Envelope.parse(json.loads(envelope.to_json())) == envelope
    return envelope


def refusal(name: str, body: bytes | dict[str, Any], **properties: Any) -> str:
    """Why it is refused."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidEnvelope) as caught:
        format_named(name).decode(Received(raw, **properties))
    assert caught.value.__cause__ is None
    return str(caught.value)


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "half a document": b'{"specversion":"1.0","id"',
    "two documents": b"{}{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "latin-1": '{"a":"é"}'.encode("latin-1"),
    "utf-16": '{"a":1}'.encode("utf-16"),
    "pickle": b"\x80\x04\x95\x00.",
    "a list": b"[{}]",
    "a number": b"7",
    "null": b"null",
    "half a surrogate pair": b'{"a":"\\ud800"}',
    "raw surrogate": b'{"a":"\xed\xa0\x80"}',
    "not a number": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "a number beyond floats": b'{"a":1e999}',
    "a number too long": b'{"a":' + b"9" * 5000 + b"}",
    "too deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep and open": b"[" * 200_000,
    "a name twice": b'{"a":1,"a":2}',
    "a name twice, escaped": b'{"type":"a","t\\u0079pe":"b"}',
    "a name twice, deep": b'{"a":[{"b":{"c":1, "c":1}}]}',
    "control character": b'{"a":"\n"}',
}


class TestBodies:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("what", BODIES)
    def test_what_is_no_document_is_refused(self, name: str, what: str) -> None:
        assert "the message's body is" in refusal(name, BODIES[what])

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("part", [b'"x":1,"x":2', b'"x":1e999', b'"x":{"y":NaN}', b'"x":"\\udc00"'])
    def test_nor_is_a_good_one_with_one_bad_value(self, name: str, part: bytes) -> None:
        body = json.dumps(good(name)).encode()
        inner = b'"number": 1'
        assert inner in body
        assert "the message's body is not JSON" in refusal(name, body.replace(inner, inner + b"," + part))

    @pytest.mark.parametrize(
        "content_type",
        ["application/xml", "text/plain", "json", "application/cloudevents+avro", "application/", "/json", 7, "é/x"],
    )
    @pytest.mark.parametrize("name", NAMES)
    def test_nor_is_what_says_that_it_is_something_else(self, name: str, content_type: Any) -> None:
        assert "content type" in refusal(name, good(name), content_type=content_type)

    @pytest.mark.parametrize(
        "content_type",
        ["", "application/json", "application/json; charset=utf-8", "Application/CloudEvents+JSON", "text/json"],
    )
    @pytest.mark.parametrize("name", NAMES)
    def test_json_by_any_name_is_read(self, name: str, content_type: str) -> None:
        body = json.dumps(good(name)).encode()
        assert format_named(name).decode(Received(body, content_type)).type == "garbage.told"

    def test_a_batch_is_refused(self) -> None:
        body = json.dumps([good("cloudevents")]).encode()
        assert "a list" in refusal("cloudevents", body, content_type="application/cloudevents-batch+json")


#: Of each format: the path of a field, and values that it cannot have. `...` leaves it out.
UNFIT_TEXTS: list[Any] = [..., None, "", 7, True, ["x"], {"x": 1}]
UNFIT_TYPES = [*UNFIT_TEXTS, "a b", "a\u00a0b", "a\tb", "a\x00", "x" * 201, "\u202e"]
UNFIT_TIMES = [
    "",
    7,
    "yesterday",
    "2026-03-01T12:00:00",
    "2026-03-01",
    "2026-13-01T00:00:00Z",
    "0001-01-01T00:00+23:00",
]
UNFIT_DATA: list[Any] = [..., None, [], "x", 7, True]
UNFIT_NUMBERS = [0, -1, 1.0, 1.5, True, "x", "", "-1", "1e2", "\u0661", "9" * 11, 2**31, 10**400, [1]]
UNFIT: list[tuple[str, str, list[Any]]] = [
    ("cloudevents", "specversion", [*UNFIT_TEXTS, "0.3", "2.0", 1.0]),
    ("cloudevents", "id", UNFIT_TEXTS),
    ("cloudevents", "source", UNFIT_TEXTS),
    ("cloudevents", "type", UNFIT_TYPES),
    ("cloudevents", "time", UNFIT_TIMES),
    ("cloudevents", "datacontenttype", ["", 7, "application/xml", "application/octet-stream"]),
    ("cloudevents", "eventversion", UNFIT_NUMBERS),
    ("cloudevents", "hops", UNFIT_NUMBERS[1:]),
    ("cloudevents", "correlationid", ["", 7, {}, "x" * 201, "a\nb"]),
    ("cloudevents", "causationid", ["", 7, {}, "x" * 201, "a\nb"]),
    ("cloudevents", "data", UNFIT_DATA),
    ("cloudevents", "data_base64", ["", "e30=", 7]),  # beside data
    ("classic", "message_type", [*UNFIT_TEXTS, "domain_event"]),
    ("classic", "message_name", UNFIT_TYPES),
    ("classic", "message_id", UNFIT_TEXTS),
    ("classic", "payload", UNFIT_DATA),
    ("classic", "payload.event_timestamp", [..., None, "", 7, "yesterday", "2026-13-01T00:00:00"]),
    ("flat", "type", UNFIT_TYPES),
    ("flat", "version", UNFIT_NUMBERS),
    ("record", "event_id", UNFIT_TEXTS),
    ("record", "event_type", UNFIT_TYPES),
    ("record", "occurred_at", [..., None, *UNFIT_TIMES]),
    ("record", "version", UNFIT_NUMBERS),
    ("record", "hops", UNFIT_NUMBERS[1:]),
    ("record", "correlation_id", ["", 7, {}, "x" * 201, "a\nb"]),
    ("record", "causation_id", ["", 7, {}, "x" * 201, "a\nb"]),
    ("record", "payload", [*UNFIT_DATA, "[]", "{", '{"a":1,"a":1}']),
]


class TestFields:
    @pytest.mark.parametrize(
        "name, path, value", [(name, path, value) for name, path, values in UNFIT for value in values], ids=repr
    )
    def test_the_error_names_the_field(self, name: str, path: str, value: Any) -> None:
        message = good(name)
        *outer, last = path.split(".")
        owner = message[outer[0]] if outer else message
        if value is ...:
            del owner[last]
        else:
            owner[last] = value
        assert f"'{path}'" in refusal(name, message)

    @pytest.mark.parametrize("value", ["!", "e30", "e!30=", "WzFd", "eyJhIjoxLCJhIjoxfQ==", "/////w==", "é"])
    def test_binary_data_that_is_no_object_of_json(self, value: str) -> None:
        message = good("cloudevents") | {"data_base64": value}
        del message["data"]
        assert "'data_base64'" in refusal("cloudevents", message)

    @pytest.mark.parametrize("timestamp", [float("nan"), float("inf"), 1e300, 1.7e14, "now", -1e15])
    @pytest.mark.parametrize("name", ["flat", "cloudevents"])
    def test_a_timestamp_that_is_none(self, name: str, timestamp: Any) -> None:
        message = good(name)
        message.pop("time", None)
        assert "'timestamp'" in refusal(name, message, timestamp=timestamp)

    @pytest.mark.parametrize("message_id", [7, b"x", "\ud800"])
    def test_a_message_id_that_is_no_text(self, message_id: Any) -> None:
        assert "'message_id'" in refusal("flat", good("flat"), message_id=message_id)


class TestSecrecy:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        "spoiled",
        ['{"%s":', '{"a":%s}', '{"a":1,"%s":1,"%s":2}', '["%s"]', '"%s"', '{"a":"%s\\ud800"}', '{"a":"%s\n"}'],
    )
    def test_nothing_of_the_body_is_told(self, name: str, spoiled: str) -> None:
        body = spoiled.replace("%s", SECRET).encode()
        assert SECRET not in refusal(name, body, content_type="application/json")

    @pytest.mark.parametrize("name, path", [(name, path) for name, path, _ in UNFIT if "." not in path])
    @pytest.mark.parametrize("value", [f"{SECRET} \n", [SECRET], {SECRET: 1}])
    def test_no_value_of_a_field_is_told(self, name: str, path: str, value: Any) -> None:
        message = good(name) | {path: value}
        try:
            format_named(name).decode(Received(json.dumps(message).encode()))
        except InvalidEnvelope as error:
            told = f"{error} {error.__context__!r}"
        else:
            told = ""  # a text that fits
        assert SECRET not in told


TEXTS = st.text() | st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010)) | st.sampled_from(["1.0", "7"])
FLOATS = st.floats() | st.just(1e308)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**60, 2**200) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good message of some format, in which something is put in, left out or cut off."""
    name = draw(st.sampled_from(NAMES))
    message = good(name)
    for key in draw(st.lists(st.sampled_from([*message, "data_base64", "traceparent", "causationid"]), max_size=3)):
        message[key] = draw(VALUES)
    for key in draw(st.lists(st.sampled_from([*message]), max_size=1)):
        del message[key]
    body = json.dumps(message, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    at = draw(st.integers(0, len(body)))
    noise = draw(st.binary(max_size=3))
    return name, draw(st.sampled_from([body, body, body, body[:at], body[:at] + noise + body[at:]]))


def _deep(calls: int, function: Callable[[], object]) -> None:
    _deep(calls - 1, function) if calls else function()


class TestAnything:
    @given(st.sampled_from(NAMES), st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
    @settings(max_examples=200)
    @example("flat", b'{"type":"a","x":' + b"[" * 190 + b"]" * 190 + b"}")
    def test_bytes(self, name: str, body: bytes) -> None:
        check(format_named(name), Received(body))

    @given(spoiled())
    @settings(max_examples=400)
    def test_spoiled_messages(self, message: tuple[str, bytes]) -> None:
        name, body = message
        check(format_named(name), Received(body, topic="orders"))

    @given(
        st.sampled_from(NAMES),
        TEXTS | st.none() | st.integers(),
        TEXTS | st.none() | st.binary(),
        TEXTS | st.none(),
        st.none() | st.floats() | st.integers() | TEXTS,
        st.none() | st.dictionaries(TEXTS | st.just("traceparent"), VALUES),
    )
    @settings(max_examples=200)
    def test_properties(
        self, name: str, content_type: Any, message_id: Any, routing_key: Any, timestamp: Any, headers: Any
    ) -> None:
        """Brokers hand on what senders wrote into them."""
        body = json.dumps(good(name)).encode()
        message = Received(
            body, content_type, headers, message_id, routing_key=routing_key, topic="t", timestamp=timestamp
        )
        check(format_named(name), message)

    def test_the_deepest_that_is_read_reaches_a_handler(self) -> None:
        """What one parser takes, the next one on the way must take too."""
        depth = 150
        body = b'{"type":"a","x":' + b"[" * depth + b"]" * depth + b"}"
        assert check(format_named("flat"), Received(body)) is not None

    def test_a_caller_deep_in_the_stack(self) -> None:
        """Python's parser has what is left of the stack: nested JSON may need more."""
        message = Received(b'{"type":"a", "x":' + b"[" * 190 + b"]" * 190 + b"}")
        for room in (60, 100, 150):
            _deep(sys.getrecursionlimit() - len(inspect.stack(0)) - room, lambda: check(format_named("flat"), message))

    @given(st.text())
    def test_content_types(self, content_type: str) -> None:
        if is_json(content_type):
            assert "json" in content_type.lower()
