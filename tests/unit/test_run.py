"""What a run takes from the headers of its message, which anyone may have written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from events_core.publishing.stored import kept_headers
from events_worker.run import Run


def run(**headers: Any) -> Run:
    return Run.of("id", "shop.handler", "shop.events", headers, {}, redelivered=False)


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), -1, "soon", None, 99_999_999_999])
def test_a_time_that_is_none_is_that_of_the_run(value: Any) -> None:
    """A forged time neither fails nor holds a delivery for ever."""
    one = run(**{"events-first-at": value})
    assert one.first_at == one.started_at


def test_a_time_is_taken_from_the_header() -> None:
    """A retry knows when the delivery was begun first."""
    assert run(**{"events-first-at": 1_700_000_000.5}).first_at == 1_700_000_000.5


@pytest.mark.parametrize("headers", [{"events-run": 2}, {"events-generation": 1}, {"events-copy": True}])
def test_what_is_no_first_run_asks_the_ledger(headers: dict[str, Any]) -> None:
    """A copy of a running delivery, above all, must not be taken for a first message."""
    assert run().ordinary
    assert not run(**headers).ordinary


def test_headers_that_no_broker_carries_are_not_kept() -> None:
    """A name or value that cannot be encoded would keep the whole schedule from being sent."""
    kept = kept_headers({"id": "1", "a-\ud800": 1, "b-c": "\ud800", "d-e": object, "traceparent": "00-1"})
    assert set(kept) == {"id", "b-c", "d-e", "traceparent"}
    assert all(value.isascii() for value in kept.values())


@pytest.mark.parametrize("value", ["\ud800", "é\u2028", float("inf"), 10**40, 0.1, None, [[]]], ids=repr)
def test_a_payload_stays_what_it_is_in_the_next_message(value: Any) -> None:
    """Whatever JSON can say, and half of a surrogate pair."""
    present = Run.of("1", "mail", "q", {}, {"data": {"value": value}}, redelivered=False)
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert json.loads(present.message().body) == [[{"data": {"value": value}}], {}, embed]
