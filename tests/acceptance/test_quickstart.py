"""docs/quickstart.md, followed to the letter in an empty directory."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.markdown import Block
from tests.support.processes import ROOT, Process, start

pytestmark = pytest.mark.apps

PAGE = ROOT / "docs" / "quickstart.md"
INSTALL = "pip install 'celery-events[embedded]'"


class Reader:
    """Does what the page says in `folder`: saves files, types commands, compares what they print, presses Ctrl-C.

    One command is replaced: what is installed is not the package index's celery-events, but this working copy, with the
    dependencies that this test run has.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shell: list[str] = []  # what stays in force in the reader's shell
        self._last: Process | None = None
        self._serving = False

    def follow(self, block: Block) -> None:
        if block.file:
            (self.folder / block.file).write_text(block.code)
        elif block.language == "sh":
            for line in block.code.splitlines():
                self._type(line)
        elif block.language == "text":
            self._compare(block.code)

    def press_ctrl_c(self) -> None:
        """End the worker that runs, if one does."""
        if self._last is not None and self._serving:
            self._last.signal(signal.SIGINT)
            self._last.wait()  # with 1, as `celery worker` after Ctrl-C
        self._serving = False

    def _type(self, line: str) -> None:
        self.press_ctrl_c()
        if line.startswith((". ", "export ")):
            self._shell.append(line)
            return
        if line == INSTALL:
            self._install_dependencies()
            line = f"pip install --no-index --no-deps --no-build-isolation {shlex.quote(str(ROOT))}"
        script = "; ".join(["set -e", *self._shell, f"exec env {line}"])
        # without PYTHONPATH, by which other tests import the working copy: here what was installed is tested
        self._last = start(["env", "-u", "PYTHONPATH", "bash", "-c", script], name=line, cwd=self.folder)
        self._serving = "events worker" in line
        if not self._serving:
            assert self._last.wait(timeout=120) == 0, self._last.log

    def _compare(self, text: str) -> None:
        assert self._last is not None
        for line in text.splitlines():
            pattern = r"\s+".join(map(re.escape, line.split()))
            self._last.wait_for_log(pattern, timeout=60)

    def _install_dependencies(self) -> None:
        (packages,) = self.folder.glob(".venv/lib/python*/site-packages")
        ours = [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
        (packages / "dependencies.pth").write_text("\n".join(ours) + "\n")


def test_it_works_as_it_stands(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    found = markdown.blocks(PAGE)
    assert any(INSTALL in block.code for block in found)
    for block in found:
        reader.follow(block)
    reader.press_ctrl_c()


def test_its_first_file_is_the_example() -> None:
    first = next(block for block in markdown.blocks(PAGE) if block.file == "shop.py")
    assert first.code == (ROOT / "examples" / "quickstart" / "shop.py").read_text()
