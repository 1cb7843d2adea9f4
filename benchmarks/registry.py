"""registry: whether an emit costs more where many handlers and event types are registered."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import IO

from benchmarks.rounds import alternate
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target
from tests.support.processes import ROOT, child_env

MANY = 10_000
QUEUE = "registry.events"


def run(stage: Stage) -> Report:
    """Two processes, with 1 and with 10,000 handlers and types of their own, measured in turn."""
    effort = stage.effort
    broker = stage.redis()
    with ExitStack() as ends:
        few, many = (ends.enter_context(_Child(broker, number)) for number in (1, MANY))
        times = effort.times(1000)
        drop = partial(broker.drop, QUEUE)
        mine, theirs = alternate(effort.rounds(9), [partial(child.measure, times) for child in (many, few)], drop)
    row = Row(f"emit with {MANY:,} handlers and types", "µs", mine, theirs, "1 of each", target=Target("≤", 1.2))
    return Report("registry: microseconds for one emit with 1 handler, on Redis", [row])


class _Child:
    """A process that has registered so many, and measures when it is asked."""

    def __init__(self, broker: Broker, number: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.apps.registered", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_env(broker.env),
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._process.wait(30)

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def measure(self, times: int) -> float:
        """Microseconds of one emit, over so many."""
        assert self._process.stdout is not None
        print(times, file=self._input, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the measuring process ended ({self._process.wait(30)})")
        return float(answer)
