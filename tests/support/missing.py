"""What happens when a test needs something that this machine does not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE = "EVENTS_TEST_REQUIRE_SERVERS"


def servers_are_required() -> bool:
    """True where a skip would hide that nothing was tested, as in CI."""
    return os.environ.get(REQUIRE, "") not in ("", "0")


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails it where servers are required.

    Args:
        reason: what is missing and how to get it.
    """
    if servers_are_required():
        pytest.fail(f"{reason} ({REQUIRE} is set, so this is a failure)", pytrace=False)
    pytest.skip(reason)
