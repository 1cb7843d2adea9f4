"""The pytest plugin, in pytest processes of its own, as users run it."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.processes import child_env

pytestmark = pytest.mark.apps

pytest_plugins = ["pytester"]

INSTALLED = any(point.name == "celery_events" for point in metadata.entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "events_core.testing.plugin"]

SHOP = """
from events_core import DomainEvent, EventSystem, Retry

events = EventSystem("shop")

class Placed(DomainEvent, event_type="shop.placed"):
    number: int

@events.handler(Placed, retry=Retry(max_attempts=2))
def bill(event):
    if event.number < 0:
        raise ConnectionError("down")

def place(number):
    events.emit(Placed(number=number))
"""
TEST = """
from shop import Placed, place

def test_it_places(events):
    place(1)
    assert events.assert_emitted(Placed).number == 1
    assert [run.outcome for run in events.run()] == ["done"]

def test_it_starts_with_nothing(events):
    events.assert_nothing_emitted()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with an application, and an environment without any EVENTS_ variable."""
    env = child_env()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(shop=SHOP)
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", *args)


def test_the_only_system_alive_is_the_one(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    run(project).assert_outcomes(passed=2)


def test_the_ini_option_names_it(project: pytest.Pytester) -> None:
    """As `events worker -A`, also beside another system."""
    project.makeini("[pytest]\nevents_app = shop:events\n")
    project.makepyfile("from events_core import EventSystem\nother = EventSystem('other')\n" + TEST)
    run(project).assert_outcomes(passed=2)


def test_an_overridden_fixture_names_it(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import pytest\n@pytest.fixture\ndef event_system():\n    from shop import events\n    return events\n"
    )
    project.makepyfile("from events_core import EventSystem\nother = EventSystem('other')\n" + TEST)
    run(project).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "no EventSystem has been made yet"),
        (
            "from events_core import EventSystem\na, b = EventSystem('a'), EventSystem('b')\n",
            "there are several EventSystems: 'a' of *, 'b' of *",
        ),
    ],
)
def test_none_or_several_are_an_error_that_names_the_ways(project: pytest.Pytester, code: str, said: str) -> None:
    project.makepyfile(f"{code}\ndef test_it(events): ...\n")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*ConfigurationError: {said}*", "*def event_system*", '*events_app = "shop.events"*'])


def test_failures_tell_and_leave_nothing_behind(project: pytest.Pytester) -> None:
    """What was emitted instead; of a handler that died, why. The next test starts anew."""
    project.makepyfile("""
        from shop import Placed, place

        def test_a(events):
            place(1)
            place(2)
            events.assert_emitted(Placed, number=3)

        def test_b(events):
            place(-1)
            events.run_until_idle()
            assert not events.dead

        def test_c(events):
            events.assert_nothing_emitted()
            assert not events.deliveries
        """)
    result = run(project)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*Placed(number=3) was not emitted.", "*> number is 1, not 3", "*Emitted (2):", "*1. Placed(number=1)"]
    )
    result.stdout.fnmatch_lines(["*<shop.bill of Placed(number=-1): exhausted after 2 starts: down>*"])
    result.stdout.fnmatch_lines(["*is dead after 2 starts (exhausted): down*"])


def test_several_processes_at_once(project: pytest.Pytester) -> None:
    """pytest-xdist: each process captures its own."""
    project.makepyfile(*[""], test_a=TEST, test_b=TEST)
    run(project, "-n", "2").assert_outcomes(passed=4)


def test_unittest_uses_the_context_manager(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
import unittest
from events_core.testing import capture
import shop

class Placing(unittest.TestCase):
    def setUp(self):
        self.events = self.enterContext(capture(shop.events))

    def test_it(self):
        shop.place(1)
        self.events.assert_emitted(shop.Placed, number=1, count=1)

class PlacingAsync(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        with capture(shop.events) as events:
            await shop.events.aemit(shop.Placed(number=1))
            assert [run.outcome for run in await events.arun()] == ["done"]
"""
    )
    result = project.run(sys.executable, "-m", "unittest", "test_it")
    assert result.ret == 0
    result.stderr.fnmatch_lines(["Ran 2 tests*", "OK"])


def test_the_plugins_own_module_asks_for_pytest_alone() -> None:
    """Every project that has the package installed loads it."""
    import events_core.testing.plugin as plugin

    source = Path(plugin.__file__).read_text()
    imported = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imported == [
        "from __future__ import annotations",
        "from collections.abc import Iterator",
        "from typing import TYPE_CHECKING",
        "import pytest",
    ]


def test_the_plugin_is_listed_and_documents_itself(project: pytest.Pytester) -> None:
    result = run(project, "--fixtures", "-q")
    result.stdout.fnmatch_lines(["*event_system*", "*The EventSystem under test.*"])
    result.stdout.fnmatch_lines(["*What the application emits while the test runs is captured*"])


def test_a_django_testcase_has_the_events_once_the_callbacks_of_the_commit_run(project: pytest.Pytester) -> None:
    """As docs/testing.md says; of pytest-django nothing is needed for it."""
    pytest.importorskip("django")
    project.makepyfile("""
        import django
        from django.conf import settings

        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(SECRET_KEY="of a test", DATABASES={"default": sqlite}, USE_TZ=True)
        django.setup()

        from django.db import transaction
        from django.test import TestCase
        from events_core.contrib.django.transactions import AfterCommit
        from events_core.testing import capture
        import shop

        shop.events.deliver_later = AfterCommit("default")

        class Placing(TestCase):
            def test_it(self):
                with capture(shop.events) as captured:
                    with self.captureOnCommitCallbacks(execute=True):
                        shop.place(1)
                        captured.assert_nothing_emitted()
                    captured.assert_emitted(shop.Placed, number=1)
                    assert [run.outcome for run in captured.run()] == ["done"]
                    with self.captureOnCommitCallbacks(execute=True):
                        with self.assertRaises(KeyError), transaction.atomic():
                            shop.place(2)
                            raise KeyError
                    captured.assert_not_emitted(shop.Placed, number=2)
        """)
    run(project, "-p", "no:django").assert_outcomes(passed=1)
