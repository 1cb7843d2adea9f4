"""The documents of the systems that this project replaces: their Python blocks run, as docs/coming-from.md says.

A document is an application in tests/seeds: its blocks in order, each below a line ``# --- document number: how``, and
a `run` that does what the document says. It runs as its users would have it: in a process of its own, beside a worker.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.markdown import table
from tests.support.processes import ROOT, child_env, start_python, start_worker

pytestmark = pytest.mark.apps

SEEDS = ROOT / "tests" / "seeds"
PAGE = ROOT / "docs" / "coming-from.md"
#: How many blocks of Python each document has.
BLOCKS = {"diator": 9, "acherryjam": 13, "guide": 5, "monolith": 12, "cqrs": 2}
_MARK = re.compile(r"^ *# --- (\w+) (\d+): (as it is|changed|replaced)$", re.M)


def rows() -> dict[tuple[str, int], list[str]]:
    """The table of blocks, by document and number."""
    found = {}
    for block, *cells in table(PAGE, "block"):
        document, number = block.split()
        assert (document, int(number)) not in found, block
        found[document, int(number)] = cells
    return found


def marks() -> list[tuple[str, int, str, Path]]:
    """Document, number and how of each block, in the modules."""
    return [
        (document, int(number), how, path)
        for path in sorted(SEEDS.rglob("*.py"))
        for document, number, how in _MARK.findall(path.read_text())
    ]


class TestTable:
    def test_it_has_a_row_for_each_block(self) -> None:
        expected = [(document, number) for document, many in BLOCKS.items() for number in range(1, many + 1)]
        assert list(rows()) == expected

    def test_each_block_is_in_the_module_that_its_row_says_and_runs_as_it_says(self) -> None:
        in_modules = {(document, number): how for document, number, how, _ in marks()}
        assert in_modules == {key: cells[1] for key, cells in rows().items()}
        assert max(Counter(key[:2] for key in marks()).values()) == 1
        assert all(document in path.relative_to(SEEDS).parts for document, _, _, path in marks())

    def test_what_is_not_as_it_is_has_a_reason(self) -> None:
        for key, (_, how, why) in rows().items():
            assert bool(why) == (how != "as it is"), key


@pytest.mark.parametrize("document", ["diator", "cqrs", "guide"])
def test_it_does_what_its_document_says(document: str, redis_url: str) -> None:
    env = {"EVENTS_BROKER_URL": redis_url}
    start_worker(f"tests.seeds.{document}.app", env=env)
    ran = start_python("-m", f"tests.seeds.{document}.run", env=env)
    assert ran.wait(60) == 0, ran.log


def test_acherryjam_does_what_its_readme_says(redis_url: str) -> None:
    """No worker: its handlers run in the caller's transaction, and its bus on the application's own loop."""
    ran = start_python("-m", "tests.seeds.acherryjam.run", env={"EVENTS_BROKER_URL": redis_url})
    assert ran.wait(60) == 0, ran.log


def test_the_monolith_does_what_its_page_says(redis_url: str) -> None:
    env = {"EVENTS_BROKER_URL": redis_url}
    worker = start_worker("app.core.events", env=env, cwd=SEEDS / "monolith")
    ran = start_python("run.py", env=env, cwd=SEEDS / "monolith")
    assert ran.wait(60) == 0, ran.log
    worker.wait_for_log("count_users.*RuntimeError")  # which did not keep the mail from being sent
    assert "token of" not in worker.log + ran.log


def test_the_monoliths_own_tests_pass() -> None:
    """With no broker: publishing is replaced, and a handler is called as the function that it is."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "checks.py"]
    env = child_env({"PYTEST_ADDOPTS": None})
    ran = subprocess.run(command, env=env, cwd=SEEDS / "monolith", capture_output=True, text=True, check=False)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
