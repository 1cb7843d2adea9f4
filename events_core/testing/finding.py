"""Which EventSystem a test means."""

from __future__ import annotations

import gc

from events_core.errors import ConfigurationError
from events_core.system import EventSystem, systems
from events_core.testing.inline import find_system

_WAYS = """Say which one is tested, in one of three ways:
  - in conftest.py, a fixture that returns it:
        @pytest.fixture
        def event_system():
            from shop.events import events
            return events
  - in the configuration of pytest (pyproject.toml: [tool.pytest.ini_options]), as `events worker -A` takes it:
        events_app = "shop.events"
  - by importing the only EventSystem of the application in the test module"""


def system_under_test(path: str) -> EventSystem:
    """The system at `path`, else the only one that is alive in this process. Raises ConfigurationError."""
    if path:
        return find_system(path)
    if len(systems) > 1:
        gc.collect()  # those that an earlier test has made and left
    alive = sorted(systems, key=lambda system: system.name)
    if len(alive) == 1:
        return alive[0]
    found = "no EventSystem has been made yet"
    if alive:
        found = "there are several EventSystems: " + ", ".join(f"{each.name!r} of {each.module}" for each in alive)
    raise ConfigurationError(f"{found}. {_WAYS}")
