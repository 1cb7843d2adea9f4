"""The pytest plugin: the fixture ``events`` captures what the application emits. See docs/testing.md.

pytest loads it in every project that has this package installed: it imports nothing else until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from events_core.system import EventSystem
    from events_core.testing.captured import CapturedEvents

OPTION = "events_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini option `events_app`."""
    parser.addini(OPTION, "the EventSystem of the fixture `events`: shop.events, or shop.events:name", default="")


@pytest.fixture
def event_system(pytestconfig: pytest.Config) -> EventSystem:
    """The EventSystem under test. Override it in conftest.py where it cannot be told otherwise."""
    from events_core.testing.finding import system_under_test

    return system_under_test(str(pytestconfig.getini(OPTION)))


@pytest.fixture
def events(event_system: EventSystem) -> Iterator[CapturedEvents]:
    """What the application emits while the test runs is captured, and not sent. No broker is needed."""
    from events_core.testing.capturing import capture

    with capture(event_system) as captured:
        yield captured
