"""Workers of several sides beside each other: warmed up, idle, and given bursts of work in turn."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.apps.marks import VARIABLE, Marks
from benchmarks.sides import Pool, Side
from tests.support import processes
from tests.support.processes import Process
from tests.support.waiting import wait_until

START = 60.0  # seconds for a worker to do its first work
WORK = 120.0  # seconds for a burst

#: Happened, and when it was asked for: nanoseconds.
Pairs = list[tuple[int, int]]


class Crew:
    """One worker for each side. To be used in a `with` statement, which ends them."""

    def __init__(self, pool: Pool, *sides: Side) -> None:
        self.pool = pool
        self.sides = sides
        self._folder = Path(tempfile.mkdtemp(prefix="events-bench-"))
        self._marks = {side.name: Marks(self._folder / side.name) for side in sides}
        self._workers: dict[str, Process] = {}
        self._gates = 0

    def __enter__(self) -> Crew:
        for side in self.sides:
            env = {
                **side.env,
                VARIABLE: str(self._marks[side.name].path),
                # of dramatiq, which has it for the whole worker
                "dramatiq_queue_prefetch": str(self.pool.prefetch * self.pool.slots),
            }
            # a name of its own, without which two Celery workers of one machine take each other's messages
            node = [] if side.name == "dramatiq" else ["-n", f"{side.name}@bench"]
            self._workers[side.name] = processes.start_python(*side.command(self.pool), *node, env=env)
        try:
            for side in self.sides:  # the first work tells that a worker is ready, and warms it up
                self.run(side, "noop", 5 * self.pool.slots, START)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.kill9()
        for side in self.sides:
            side.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, side: Side, kind: str, number: int, timeout: float = WORK, *, each: int = 1) -> Pairs:
        """Have the side's worker do work that waits for it already, and return the marks that this left.

        each: marks that one piece of work leaves.
        """
        gate = self.close_gate(side)
        side.send(kind, number)
        return self.open_gate(side, gate, number * each, timeout)

    def close_gate(self, side: Side) -> Path:
        """Occupy every slot of the side's worker, so that what is published now waits."""
        self._gates += 1
        gate = self._folder / f"gate-{self._gates}"
        side.send("gate", self.pool.slots, gate=str(gate))
        return gate

    def open_gate(self, side: Side, gate: Path, number: int, timeout: float = WORK) -> Pairs:
        """Let the worker work, and return the marks when there are `number`."""
        first = self._marks[side.name].count
        gate.touch()
        return self.collect(side, first, number, timeout)

    def memory(self, side: Side) -> float:
        """MiB that the side's worker holds in memory (its main process)."""
        status = Path(f"/proc/{self._workers[side.name].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu(self, side: Side) -> float:
        """Seconds of processor time that the side's worker has used, its child processes included.

        Unlike a rate it hardly changes when the machine does something else besides.
        """
        group, ticks = self._workers[side.name].pid, 0
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[2]) == group:  # proc(5): after the name come state, ppid, pgrp; 12th and 13th are the times
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def count(self, side: Side) -> int:
        """How many marks the side's worker has left so far."""
        return self._marks[side.name].count

    def collect(self, side: Side, first: int, number: int, timeout: float = WORK) -> Pairs:
        """The marks from number `first` on, when there are `number` of them."""
        self.wait(side, first + number, timeout)
        return self._marks[side.name].since(first)

    def wait(self, side: Side, number: int, timeout: float = WORK) -> None:
        """Return when the side's worker has left so many marks in all."""
        marks, worker = self._marks[side.name], self._workers[side.name]

        def done() -> bool:
            if not worker.alive:
                raise RuntimeError(f"the worker of {side.name} ended ({worker.exit_code}):\n{worker.log[-3000:]}")
            return marks.count >= number

        try:
            wait_until(done, timeout, f"{number} marks of {side.name}'s worker")
        except AssertionError as error:
            missing = number - marks.count
            raise RuntimeError(f"{error}; {missing} are missing. The worker said:\n{worker.log[-3000:]}") from None


def rate(pairs: Pairs) -> float:
    """Marks per second between the first and the last tenth: starting and running dry are left out."""
    happened = [at for _, at in pairs]
    low, high = len(happened) // 10, len(happened) * 9 // 10
    return (high - low) / (happened[high] - happened[low]) * 1e9


def rate_over_all(pairs: Pairs, number: int) -> float:
    """`number` per second between the first mark and the last."""
    return number / (pairs[-1][1] - pairs[0][1]) * 1e9


def spread(values: list[float], part: float) -> float:
    """The value below which `part` (0 to 1) of them lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
