"""`python -m benchmarks.apps.group_emitter N`: emits a group of N; prints seconds and peak memory in MB."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.apps.limited import SYSTEM, Member, bind
from events_core import EventSystem


def main(number: int) -> None:
    system = bind(EventSystem(SYSTEM))
    begin = time.monotonic()
    system.emit_group((Member(number=n) for n in range(number)), max_parallel=50)
    print(time.monotonic() - begin, _peak())
    system.close()


def _peak() -> float:
    """Most MB so far. That of getrusage(2) is, to begin with, its parent's, which may be far more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


main(int(sys.argv[1]))
