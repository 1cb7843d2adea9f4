"""Failures of handlers of events with secret fields: however short the values are, and however they are written."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from events_core import DomainEvent
from events_core.brokers.base import Received
from events_core.brokers.formats import format_named
from events_core.envelope import Envelope
from events_core.secret import Secret
from events_worker.cli.heard import heard
from events_worker.payloads import shown_data
from events_worker.redaction import _READ, Failure, redacted


class Login(BaseModel):
    user: str
    password: Annotated[str, Secret]


class Entered(DomainEvent, event_type="redaction.entered"):
    token: Annotated[str, Secret] = "none"
    pin: Annotated[int, Secret] = 0
    raw: Annotated[bytes, Secret] = b"none"
    text: SecretStr = SecretStr("none")
    data: SecretBytes = SecretBytes(b"none")
    logins: list[Login] = []
    whole: Annotated[dict[str, list[int]], Secret] = {}


def failure_of(event: Entered, error: BaseException) -> Failure:
    def handler() -> None:
        raise error

    try:
        handler()
    except BaseException as raised:
        return redacted(raised, Envelope.of(event))
    raise AssertionError


@pytest.mark.parametrize(
    "event, shown",
    [
        (Entered(token="ab"), "ab"),
        (Entered(token="Ω"), "Ω"),
        (Entered(pin=73), "73"),
        (Entered(raw=b"\xff\x01"), repr(b"\xff\x01")),
        (Entered(text="ab"), "ab"),  # type: ignore[arg-type]
        (Entered(data=b"\xff\x01"), repr(b"\xff\x01")),  # type: ignore[arg-type]
        (Entered(logins=[Login(user="ada", password="ab")]), "ab"),
        (Entered(whole={"deep": [73]}), "73"),
    ],
)
def test_secrets_of_any_type_and_length(event: Entered, shown: str) -> None:
    failure = failure_of(event, ValueError(f"<{shown}>"))
    inner = shown.removeprefix("b'").removesuffix("'")
    assert inner not in failure.message
    assert inner not in failure.traceback.rpartition("ValueError")[2]
    assert "***" in failure.message


TOKEN = 'tok "é" + /'


@pytest.mark.parametrize(
    "written",
    [
        repr,
        ascii,
        json.dumps,
        lambda token: json.dumps(token, ensure_ascii=False),
        lambda token: repr(token.encode()),
        quote,
        lambda token: urlencode({"token": token}),
        lambda token: binascii.hexlify(token.encode()).decode(),
        lambda token: base64.b64encode(token.encode()).decode(),
        lambda token: base64.urlsafe_b64encode(token.encode()).decode(),
    ],
)
def test_as_they_are_written_elsewhere(written: Callable[[str], str]) -> None:
    """As repr, JSON, URLs, hexadecimal digits and Base64 have it."""
    failure = failure_of(Entered(token=TOKEN), ValueError(f"no: {written(TOKEN)}"))
    plain = failure_of(Entered(token=TOKEN), ValueError("no: "))
    left = failure.message.removeprefix(plain.message).replace("***", "").replace("token=", "")
    assert len(left) <= 3, failure.message  # quotes, and a b before them


@pytest.mark.parametrize("user", ["a", "ab", "abc"])
def test_within_the_base64_of_a_longer_text(user: str) -> None:
    """An Authorization header: where in it the value begins decides what its digits are."""
    token = "correct-horse-battery"
    header = base64.b64encode(f"{user}:{token}:more".encode()).decode()
    failure = failure_of(Entered(token=token), ValueError(f"Basic {header}"))
    left = failure.message.removeprefix("Basic ").split("***")
    assert len(left) == 2
    for part in left:
        assert len(part) <= 10
        assert token[3:8] not in base64.b64decode(part[: len(part) // 4 * 4] or "").decode(errors="replace")


def test_causes_notes_and_groups() -> None:
    """Everything that a traceback shows."""

    class Record(BaseModel):
        number: int

    def bad_record() -> Exception:
        try:
            Record.model_validate({"number": "sesame" * 20})
        except ValueError as error:
            return error
        raise AssertionError

    noted = RuntimeError("inner sesame")
    noted.add_note("with sesame")
    noted.__cause__ = KeyError("sesame")
    group = ExceptionGroup("several sesame", [noted, ExceptionGroup("deeper", [bad_record()])])
    failure = failure_of(Entered(token="sesame"), group)
    assert "with ***" in failure.traceback
    assert "KeyError: '***'" in failure.traceback
    assert "ses" not in failure.message + failure.traceback.replace("several sesame", "")


def test_a_secret_of_asterisks_ends() -> None:
    """What replaces it has it in turn."""
    assert failure_of(Entered(token="*"), ValueError("a*b**")).message == "a***b***"


def test_values_that_overlap_leave_nothing_between_them() -> None:
    event = Entered(token="abcd", text="cdefgh")  # type: ignore[arg-type]
    assert failure_of(event, ValueError("-abcdefgh-")).message == "-***-"


class TestShownData:
    """What commands show of a payload."""

    def test_secrets_are_masked(self) -> None:
        data = json.loads(Envelope.of(Entered(token="ab")).data)
        shown, remark = shown_data("redaction.entered", 1, data)
        assert (shown["token"], shown["logins"], remark) == ("***", [], None)

    def test_of_an_unknown_class_nothing(self) -> None:
        """Nothing tells which of it is secret; the remark says how to see it."""
        for version in (1, 0):
            shown, remark = shown_data("redaction.unknown", version, {"token": "ab"})
            assert shown == "***"
            assert remark is not None
            assert "no class of redaction.unknown" in remark
            assert "with -A" in remark

    def test_without_a_version_by_the_newest_class(self) -> None:
        """Some formats tell none."""
        assert shown_data("redaction.entered", 0, {"pin": 1}) == ({"pin": "***"}, None)

    @pytest.mark.parametrize("data", [None, 3, "ab", ["ab"]])
    def test_what_is_no_object(self, data: Any) -> None:
        assert shown_data("redaction.entered", 1, data)[0] == "***"

    def test_what_is_heard_on_a_message_broker(self) -> None:
        """`events tail --payload`, as lines and as JSON."""

        def shown_of(event_type: str) -> tuple[str, dict[str, Any]]:
            body = {"type": event_type, "version": 1, "token": "tok_live", "logins": [{"password": "tok_live"}]}
            message = Received(json.dumps(body).encode(), type=event_type, topic="secrets")
            one = heard(message, format_named("flat"), 10_000)
            return one.line + one.readable, one.shown(payload=True)

        text, document = shown_of("redaction.entered")
        assert document["payload"] == {"token": "***", "logins": [{"password": "***"}]}
        assert '"token": "***"' in text
        other, hidden = shown_of("redaction.unknown")
        assert (hidden["payload"], "with -A" in hidden["remark"], "with -A" in other) == ("***", True, True)
        assert "tok_live" not in text + other + json.dumps([document, hidden])


def test_each_line_of_a_secret_of_several() -> None:
    """A group of exceptions shows each behind a margin, where the whole is not found."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----"
    failure = failure_of(Entered(token=key), ExceptionGroup("both", [ValueError(f"bad key {key}")]))
    for line in key.splitlines():
        assert line not in failure.traceback.rpartition("ExceptionGroup")[2]
        assert line not in failure.message


def test_one_that_overlaps_itself() -> None:
    assert failure_of(Entered(token="abab"), ValueError("<ababab>")).message == "<***>"


def test_where_a_long_text_is_cut_no_part_of_one_is_left() -> None:
    """Only so much of a text is looked through, however long an exception makes it."""
    token = "s3cret-" * 8
    for before in range(0, 120, 7):
        text = "x" * (_READ - before) + token + "y" * _READ
        failure = failure_of(Entered(token=token), ValueError(text))
        assert "s3cret" not in failure.message
        assert "s3cret" not in failure.traceback
        assert len(failure.message) <= 500
