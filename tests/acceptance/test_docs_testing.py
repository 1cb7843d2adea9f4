"""docs/testing.md: every test that it shows is run, by the plugin that it describes."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.processes import ROOT, start_python

pytestmark = pytest.mark.apps

PAGE = ROOT / "docs" / "testing.md"
CODE = "\n".join(block.code for block in markdown.blocks(PAGE) if block.language == "python")
INSTALLED = any(point.name == "celery_events" for point in metadata.entry_points(group="pytest11"))


def shown_tests(code: str) -> list[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [n.name for n in ast.walk(ast.parse(code)) if isinstance(n, functions) and n.name.startswith("test_")]


def test_every_test_that_it_shows_passes(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(CODE)
    plugin = () if INSTALLED else ("-p", "events_core.testing.plugin")
    ran = start_python(
        "-m", "pytest", *plugin, "-p", "no:cacheprovider", "-q", "--rootdir", tmp_path, "test_page.py", cwd=tmp_path
    )
    assert ran.wait(120) == 0, ran.log
    assert f"{len(shown_tests(CODE))} passed" in ran.log, ran.log


def test_the_failure_that_it_shows_is_the_one(tmp_path: Path) -> None:
    """The text of the page, as an assertion that fails prints it."""
    (shown,) = [block.code for block in markdown.blocks(PAGE) if "AssertionError" in block.code]
    fails = "\ndef test_fails(events):\n    create_user('ada@example.com')\n"
    fails += "    events.assert_emitted(UserCreated, email='ada@example.org')\n"
    (tmp_path / "test_page.py").write_text(CODE + fails)
    plugin = () if INSTALLED else ("-p", "events_core.testing.plugin")
    only = ("-k", "test_fails", "--rootdir", tmp_path)
    ran = start_python("-m", "pytest", *plugin, "-p", "no:cacheprovider", "-q", *only, "test_page.py", cwd=tmp_path)
    assert ran.wait(120) == 1, ran.log
    printed = re.sub(r"UUID\('[^']+'\)", "UUID('...')", re.sub(r"^E +", "", ran.log, flags=re.M))
    for line in shown.splitlines():
        assert line.strip() in printed, line
