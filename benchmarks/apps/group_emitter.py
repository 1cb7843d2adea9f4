"""`python -m benchmarks.apps.group_emitter N`: emits a group of N; prints seconds and peak memory in MB."""

from __future__ import annotations

import resource
import sys
import time

from benchmarks.apps.limited import SYSTEM, Member, bind
from events_core import EventSystem


def main(number: int) -> None:
    system = bind(EventSystem(SYSTEM))
    begin = time.monotonic()
    system.emit_group((Member(number=n) for n in range(number)), max_parallel=50)
    print(time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
    system.close()


main(int(sys.argv[1]))
