"""The correlation id: what belongs to one request, wherever it is handled and whoever logs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import uuid_utils

_LONGEST = 200  # characters

#: The id of what runs in this context.
correlating: ContextVar[str | None] = ContextVar("events_correlation_id", default=None)


def current_correlation_id() -> str | None:
    """That of the request, or of the event that is handled; None outside of both."""
    return correlating.get()


@contextmanager
def correlated(correlation_id: str | None = None) -> Iterator[str]:
    """What is emitted and logged in the block belongs together. Gives the id.

    correlation_id: such as a request's header had it. None, and what is no printable text of 1 to 200 characters, is
    replaced by a new one: it comes from outside, and ends in logs.
    """
    own = correlation_id if correlation_id is not None and _is_good(correlation_id) else str(uuid_utils.uuid7())
    token = correlating.set(own)
    try:
        yield own
    finally:
        correlating.reset(token)


def _is_good(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST and value.isprintable()


class CorrelationFilter(logging.Filter):
    """Puts the correlation id into every log record, as ``%(correlation_id)s``; "-" where there is none.

    Give it to a handler, not to a logger: ``handler.addFilter(CorrelationFilter())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Never refuses a record."""
        record.correlation_id = correlating.get() or "-"
        return True
