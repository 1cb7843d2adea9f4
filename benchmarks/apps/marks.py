"""What happened in the processes of a worker, on one clock: pairs of nanoseconds, appended to one file.

A mark costs less than a microsecond and costs every side the same: it only goes into memory, and a thread of its own
writes what has come together. A write in each task would let go of the interpreter's lock in each task, which makes
tasks in threads wait for one another. CLOCK_MONOTONIC is one clock for all processes of a machine (clock_gettime(2)).
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import deque
from pathlib import Path

_PAIR = struct.Struct("<qq")
#: Names the file, for the worker.
VARIABLE = "BENCH_MARKS"
#: Seconds between two writes: how much later than the mark a reader may see it.
PAUSE = 0.02

_waiting: deque[tuple[int, int]] = deque()
_writer_of = 0  # the process that the writing thread runs in: a forked child has none


def mark(sent_ns: int = 0) -> None:
    """Record that this happens now. sent_ns: of the clock `time.monotonic_ns`, when it was asked for."""
    _waiting.append((sent_ns, time.monotonic_ns()))
    if _writer_of != os.getpid():
        _start_writer()


def _start_writer() -> None:
    global _writer_of
    _writer_of = os.getpid()
    threading.Thread(target=_write, name="marks", daemon=True).start()


def _write() -> None:
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        pairs = [_waiting.popleft() for _ in range(len(_waiting))]
        if pairs:
            os.write(file, b"".join(_PAIR.pack(*pair) for pair in pairs))
        time.sleep(PAUSE)


class Marks:
    """The reading side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    @property
    def count(self) -> int:
        """How many there are."""
        return self.path.stat().st_size // _PAIR.size

    def since(self, first: int) -> list[tuple[int, int]]:
        """Those from number `first` on, as (sent, happened), in the order in which they happened."""
        with self.path.open("rb") as file:
            file.seek(first * _PAIR.size)
            return sorted(_PAIR.iter_unpack(file.read()), key=lambda pair: pair[1])
