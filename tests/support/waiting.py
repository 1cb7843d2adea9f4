"""Waiting for a condition, the only way in which the tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02  # seconds between two looks: short enough not to slow a test, long enough to leave the core alone


def wait_until(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Looks at `condition` until it is true, and returns what it then gave.

    Args:
        condition: called again and again. An AssertionError in it means "not yet".
        timeout: seconds after which waiting has failed.
        what: what is awaited, in words, for the error.

    Raises:
        AssertionError: it did not come true in time; says what was awaited and what the last look gave.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            last = value = condition()
            if value:
                return value
        except AssertionError as error:
            last = error
        if time.monotonic() >= deadline:
            name = what or getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"waited {timeout:g} s for: {name}. The last look gave: {last!r}")
        time.sleep(PAUSE)
