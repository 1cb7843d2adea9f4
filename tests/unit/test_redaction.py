"""Failures as they may be shown: the values of the event are in none of their parts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from events_core import DomainEvent
from events_core.envelope import Envelope
from events_worker.redaction import Failure, redacted


class Signed(DomainEvent, event_type="redaction.signed"):
    data: Any


def failure_of(raise_it: Any, data: Any) -> Failure:
    envelope = Envelope.of(Signed(data=data))
    try:
        raise_it()
    except BaseException as error:
        return redacted(error, envelope)
    raise AssertionError("nothing was raised")


def raising(error: BaseException) -> Any:
    def handler() -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    "data, shown",
    [
        ("ann@example.org", "ann@example.org"),
        ({"deep": [{"er": "ann@example.org"}]}, "ann@example.org"),
        (4111111111111111, "4111111111111111"),
        (1234.5, "1234.5"),
        ("line\nbreak'quote", repr("line\nbreak'quote")),
        (["short", "short and long"], "short and long"),
    ],
)
def test_values_of_the_payload_are_blanked_out(data: Any, shown: str) -> None:
    """Promise 9: in the message and in the traceback, nested, numbers, and as repr() writes them."""
    failure = failure_of(raising(ValueError(f"no such customer: {shown}, really")), data)
    assert shown.strip("'\"") not in failure.message + failure.traceback
    assert failure.message.startswith("no such customer: ")
    assert "***" in failure.message


@given(value=st.text(min_size=4), around=st.text(max_size=10))
def test_no_text_of_the_payload_survives(value: str, around: str) -> None:
    """Whatever the value is."""
    assume("*" not in value)  # the blanks themselves
    assume(value not in around)
    failure = redacted(ValueError(f"{around}{value}{around}"), Envelope.of(Signed(data={"a": [value]})))
    assert value not in failure.message


def test_what_is_no_payload_stays_readable() -> None:
    """Names of fields, short values and constants of the code are what an operator needs."""
    failure = failure_of(raising(KeyError("customer_id is missing: ab")), {"customer_id": "ab", "flag": True})
    assert "customer_id is missing: ab" in failure.message
    assert failure.type == "KeyError"


def test_the_chain_of_causes_is_blanked_out_too() -> None:
    """`raise ... from ...` shows its cause in the traceback."""

    def handler() -> None:
        try:
            raise ConnectionError("cannot reach ann@example.org")
        except ConnectionError as error:
            raise RuntimeError("failed") from error

    failure = failure_of(handler, "ann@example.org")
    assert "cannot reach ***" in failure.traceback
    assert "ann@example.org" not in failure.traceback


def test_a_validation_error_does_not_quote_its_input() -> None:
    """Its input may be something else than a value of the event, such as a looked-up record."""

    class Record(BaseModel):
        number: int

    record = {"number": "sesame" * 20}
    failure = failure_of(lambda: Record.model_validate(record), "other")
    assert "number: int_parsing" in failure.message
    assert "sesame" not in failure.message + failure.traceback
    assert failure.type == ValidationError.__name__


def test_nor_does_one_that_is_a_cause_or_is_quoted_by_another() -> None:
    """pydantic shortens what it quotes, so that blanking out whole values would not find it."""

    class Record(BaseModel):
        number: int

    secret = "sesame" * 20

    def handler() -> None:
        try:
            Record.model_validate({"number": secret})
        except ValidationError as error:
            raise RuntimeError(f"bad record: {error}") from error

    failure = failure_of(handler, secret)
    assert failure.message.startswith("bad record: number: int_parsing")
    assert "sesame" not in failure.message + failure.traceback


def test_the_traceback_begins_in_the_handler() -> None:
    """The worker's own frames lead to every handler and say nothing."""
    failure = failure_of(raising(ValueError("x")), None)
    assert "in handler" in failure.traceback
    assert "ValueError: x" in failure.traceback


def test_long_texts_are_cut() -> None:
    """A dead letter stays of bounded size; of a traceback the end counts."""

    def deep(left: int) -> None:
        if left:
            deep(left - 1) if left % 2 else other(left - 1)
        else:
            raise ValueError("x" * 100_000)

    def other(left: int) -> None:
        deep(left)

    failure = failure_of(lambda: deep(300), None)
    assert len(failure.message) <= 500
    assert len(failure.traceback) <= 8000


def test_an_exception_whose_text_fails() -> None:
    """It must not keep the delivery from being settled."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    failure = failure_of(raising(Broken()), None)
    assert failure.type == "Broken"
    assert failure.message


def test_without_an_envelope_nothing_is_known_to_blank_out() -> None:
    """An undecodable message has no values."""
    assert redacted(ValueError("x"), None).message == "x"


def test_a_failure_can_be_stored_as_json() -> None:
    """Dead letters are JSON, also when a text holds half a surrogate pair."""
    failure = redacted(ValueError("\ud800 \x00"), None)
    assert json.loads(json.dumps(failure.message)) == failure.message
