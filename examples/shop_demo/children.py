"""The processes of the demo: each in a session of its own, its output in a file, ended by its id on every way out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from examples.shop_demo.failing import DemoFailed

T = TypeVar("T")

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0
_TAIL = 3000  # characters of a log that a failure shows


class Child:
    """One running Python program."""

    def __init__(self, name: str, log: Path, *arguments: str) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is for the demo, which then ends them in order
            )

    def check(self) -> None:
        """Raises DemoFailed, with the end of its log, if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise self._failure(f"the {self.name} has ended (exit code {code})")

    def wait_for(self, condition: Callable[[], T | None], what: str) -> T:
        """What `condition` gives once that is true. Raises DemoFailed if it ends first, or after 30 s."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not (value := condition()):
            self.check()
            if time.monotonic() > deadline:
                raise self._failure(f"the {self.name} did not {what} within {_START_TIMEOUT:g} s")
            time.sleep(0.05)
        return value

    def wait_for_log(self, pattern: str) -> str:
        """The first group of the pattern, once its output matches it."""
        return self.wait_for(lambda: re.search(pattern, self._output()), f"print {pattern!r}")[1]

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to it and its children, as a machine that fails."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Wait for its end; SIGKILL to it and its children when that takes more than 10 s."""
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # not waited for yet, so that the id is still its own
            self._process.wait()

    def _output(self) -> str:
        return self._log.read_text(errors="replace")

    def _failure(self, what: str) -> DemoFailed:
        return DemoFailed(f"{what}. The end of {self._log}:\n{self._output()[-_TAIL:]}")


class Children:
    """All processes of the demo; none of them outlives the block."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._all: list[Child] = []

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``python arguments...``."""
        child = Child(name, self._logs / f"{name}.log", *arguments)
        self._all.append(child)
        return child

    def check(self) -> None:
        """Raises DemoFailed if one of them has ended."""
        for child in self._all:
            child.check()

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # from here on nothing interrupts: it takes 10 s at most for each
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for child in self._all:
            child.ask_to_end()
        for child in self._all:
            child.end()
