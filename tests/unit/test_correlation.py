"""The correlation id: where it comes from, and what has it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from events_core import DomainEvent
from events_core.correlation import CorrelationFilter, correlated, current_correlation_id
from events_core.envelope import Envelope
from events_core.ids import DerivedIds
from events_core.scope import HandlingScope, handling


class Asked(DomainEvent, event_type="correlation.asked"):
    pass


def test_outside_there_is_none_and_an_event_begins_a_chain() -> None:
    event = Asked()
    assert current_correlation_id() is None
    assert Envelope.of(event).correlation_id == str(event.event_id)


def test_what_is_emitted_in_the_block_has_its_id() -> None:
    with correlated("request-7") as own:
        assert own == current_correlation_id() == "request-7"
        assert Envelope.of(Asked()).correlation_id == "request-7"
        with correlated("inner"):
            assert Envelope.of(Asked()).correlation_id == "inner"
        assert current_correlation_id() == "request-7"
    assert current_correlation_id() is None


@pytest.mark.parametrize("bad", [None, "", "x" * 201, "two\nlines", "\x1b[31m", "nul\0"])
def test_one_that_would_spoil_a_log_is_replaced(bad: str | None) -> None:
    """It comes from a stranger's header."""
    with correlated(bad) as first, correlated(bad) as second:
        assert first != second
        assert first != bad
        assert len(first) == 36


def test_making_one_takes_no_id_of_a_handler_s_events() -> None:
    """A repeated run of the handler gives its events the same ids, whether or not it asks for a correlation id."""
    event = Asked()

    def first_id(*, correlate: bool) -> str:
        scope = HandlingScope("d", "d", Envelope.of(event), "x")
        with handling(scope, DerivedIds("d", event.event_id, event.occurred_at)):
            if not correlate:
                return str(Asked().event_id)
            with correlated():
                return str(Asked().event_id)

    assert first_id(correlate=True) == first_id(correlate=False)


def test_tasks_keep_theirs_apart() -> None:
    async def request(number: int) -> str | None:
        with correlated(f"request-{number}"):
            await asyncio.sleep(0)
            return current_correlation_id()

    async def main() -> list[str | None]:
        return await asyncio.gather(*(request(number) for number in range(3)))

    assert asyncio.run(main()) == ["request-0", "request-1", "request-2"]


def test_every_log_line_has_it() -> None:
    handler = logging.StreamHandler()
    handler.addFilter(CorrelationFilter())
    handler.setFormatter(logging.Formatter("%(correlation_id)s %(message)s"))

    def line() -> str:
        record = logging.LogRecord("any", logging.INFO, __file__, 1, "hello", None, None)
        assert handler.filter(record)
        return handler.format(record)

    with correlated("request-9"):
        assert line() == "request-9 hello"
    assert line() == "- hello"
