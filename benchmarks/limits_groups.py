"""limits-groups: a group beside the same events without one, and the memory of the process that emits it."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benchmarks.apps.limited import MEMBER, Member
from benchmarks.crew import spread
from benchmarks.fleet import Fleet
from benchmarks.rounds import alternate
from benchmarks.sides import Pool
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target
from tests.support import processes

POOL = Pool("threads", 8, 4)
WORKERS = 2
PARALLEL = 50
NUMBER = 100_000
#: Of a minute or two each.
ROUNDS = 2
#: Of each kind, before the first round.
WARM = 1000
#: Seconds for one burst.
LONG = 900.0


def run(stage: Stage) -> Report:
    """Handlers of 10 ms on two workers."""
    number = stage.effort.times(NUMBER)
    with Fleet(stage.redis(), POOL, WORKERS) as fleet:
        measures = [partial(_burst, fleet, number, grouped) for grouped in (True, False)]
        warm = [partial(_burst, fleet, WARM, grouped) for grouped in (True, False)]
        runs = alternate(stage.effort.rounds(ROUNDS), measures, warm_up=lambda: [burst() for burst in warm])
        mine, theirs = (list(zip(*figures, strict=True)) for figures in runs)
    small, _ = _emitter(stage.redis(), WARM)
    memory, seconds = _emitter(stage.redis(), number)
    after = "after the last was emitted"
    return Report(
        f"limits-groups: {number:,} async handlers of {MEMBER * 1000:.0f} ms, {PARALLEL} at once, {WORKERS} x {POOL}",
        [
            Row(f"rate {after}", "/s", mine[0], theirs[0], "emit_many", target=Target("≥", 0.9)),
            Row("rate from the first emit to the last end", "/s", mine[1], theirs[1], "emit_many"),
            Row(
                f"peak memory of emitting {number:,}",
                "MB",
                [memory],
                [small],
                f"{WARM:,}",
                target=Target("≤", 150, "ours"),
            ),
            Row(f"emitting {number:,}", "/s", [number / seconds]),
        ],
        ["The last two in a process of its own, without workers; the events come from a generator."],
    )


def _burst(fleet: Fleet, number: int, grouped: bool) -> tuple[float, float]:
    """Handlers that end in a second: from the last emit on, and from the first."""
    events = (Member(number=n) for n in range(number))
    first, begin = fleet.count, time.monotonic_ns()
    if grouped:
        fleet.system.emit_group(events, max_parallel=PARALLEL)
    else:
        fleet.system.emit_many(events)
    emitted = time.monotonic_ns()
    ends = [at for _, at in fleet.collect(first, number, LONG)]
    late = [at for at in ends if at > emitted]
    most = spread([float(at) for at in late], 0.95)
    steady = [at for at in late if at <= most]
    return (len(steady) - 1) / (steady[-1] - steady[0]) * 1e9, number / (ends[-1] - begin) * 1e9


def _emitter(broker: Broker, number: int) -> tuple[float, float]:
    """Peak MB, and seconds."""
    command = [sys.executable, "-m", "benchmarks.apps.group_emitter", str(number)]
    env = processes.child_env(broker.env)
    ran = subprocess.run(command, env=env, cwd=processes.ROOT, capture_output=True, text=True, check=True, timeout=600)
    seconds, memory = map(float, ran.stdout.split())
    return memory, seconds
