"""limits: what a limit of ten lets through, what the others on the same workers feel of it, and what waiting costs."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.apps.limited import HELD, Held, Job, Long, Timed
from benchmarks.apps.work import WAIT
from benchmarks.crew import rate_over_all, spread
from benchmarks.fleet import Fleet
from benchmarks.rounds import alternate
from benchmarks.sides import Pool
from benchmarks.stage import Stage
from benchmarks.table import Report, Row, Target

POOL = Pool("threads", 20, 1)
WORKERS = 2
NUMBER = 500
ROUNDS = 7
#: Of the other handler's wait. The p95 of 500 is the 25th longest: one moment of another process decides a round.
WAITED_ROUNDS = 15
#: Of the other handler's: how many a second, and for how long. So long do the limited ones take.
OTHERS, SECONDS = 100, 5
#: Seconds for which commands are counted.
COUNTED = 20.0
#: Tenants: deliveries of the large and of the small one.
LARGE, SMALL = 1000, 10
MILLISECOND = 1e6  # nanoseconds


def run(stage: Stage) -> Report:
    """500 deliveries that wait 100 ms, ten at once, on two workers."""
    number = -(-stage.effort.times(NUMBER) // HELD) * HELD  # whole rounds of all places
    with Fleet(stage.redis(), POOL, WORKERS) as fleet:
        rows = [_rate(fleet, number, stage), *_others(fleet, number, stage), *_polling(fleet, number, stage)]
    return Report(
        f'limits: {number} async handlers that wait 100 ms, Limit("held", {HELD}), {WORKERS} workers, {POOL}',
        rows,
        [
            f"Another handler, on the same queue: {OTHERS} a second for {SECONDS} s. Whole: from when the",
            f"{number} were emitted; waiting: from the moment at which all of them ran or were parked.",
            f"Commands: as MONITOR shows them, those in scripts included. {HELD} places are held all the time.",
        ],
    )


def _rate(fleet: Fleet, number: int, stage: Stage) -> Row:
    def burst() -> float:
        # two marks each: when the handler starts, and when it has waited
        return rate_over_all(fleet.run([Held(number=n) for n in range(number)], each=2), number)

    ideal = HELD / WAIT
    [rates] = alternate(stage.effort.rounds(ROUNDS), [burst])
    return Row(
        "from the first start to the last end", "/s", rates, [ideal] * len(rates), "ideal", target=Target("≥", 0.95)
    )


def _others(fleet: Fleet, number: int, stage: Stage) -> list[Row]:
    """What another handler's deliveries wait, with and without the limited ones."""

    seconds: list[float] = []

    def latencies(limited: int, *, parked: bool) -> list[float]:
        first = fleet.count
        fleet.system.emit_many([Held(number=n) for n in range(limited)])
        if parked:
            seconds.append(fleet.wait_for_most_parked())
        begin, count = time.monotonic(), stage.effort.times(OTHERS * SECONDS)
        for index in range(count):
            time.sleep(max(begin + index / OTHERS - time.monotonic(), 0))
            fleet.system.emit(Timed(sent_ns=time.monotonic_ns()))
        pairs = fleet.collect(first, 2 * limited + count)
        return [(at - sent) / MILLISECOND for sent, at in pairs if sent]

    cases = [partial(latencies, number, parked=False), partial(latencies, number, parked=True)]
    cases.append(partial(latencies, 0, parked=False))
    whole, waiting, without = alternate(stage.effort.rounds(WAITED_ROUNDS), cases)

    def row(label: str, ours: list[list[float]], part: float, target: Target | None = None) -> Row:
        figures, theirs = ([spread(each, part) for each in runs] for runs in (ours, without))
        return Row(f"another handler: {label}", "ms", figures, theirs, "without them", target=target)

    return [
        row("p95, the whole", whole, 0.95, Target("≤", 1.2)),
        row("p95, waiting", waiting, 0.95, Target("≤", 1.2)),
        row("p50, waiting", waiting, 0.5),
        Row(f"until all {number} run or are parked", "s", seconds[1:]),
    ]


def _polling(fleet: Fleet, number: int, stage: Stage) -> list[Row]:
    """Commands a second while all places are held, with and without deliveries that wait for one."""
    seconds = 2.0 if stage.effort.quick else COUNTED
    none, nothing = "none waits", Target("≤", 0.5, "difference")
    gate, first = fleet.new_gate(), fleet.count
    idle = fleet.commands(seconds)
    fleet.system.emit_many([Long(gate=str(gate)) for _ in range(HELD)])
    fleet.wait(first + HELD)
    nobody = fleet.commands(seconds)
    fleet.system.emit_many([Long(gate=str(gate)) for _ in range(number)])
    fleet.wait_for_parked(number)
    waiting = fleet.commands(seconds)
    gate.touch()
    fleet.collect(first, HELD + number)
    return [
        Row(f"commands about who waits, while {number} do", "/s", [waiting[1]], [nobody[1]], none, target=nothing),
        Row(f"all commands, while {number} wait", "/s", [waiting[0]], [nobody[0]], none),
        Row(f"all commands, while {HELD} run and none waits", "/s", [nobody[0]], [idle[0]], "idle"),
    ]


def fairness(stage: Stage) -> Report:
    """A tenant with 1,000 deliveries and one with 10; each may have two of four places."""
    large = stage.effort.times(LARGE)

    def wait(before: int, started: int) -> float:
        first = fleet.count
        fleet.system.emit_many([Job(tenant="large") for _ in range(before)])
        fleet.wait(first + started)
        now = time.monotonic_ns()
        fleet.system.emit_many([Job(tenant="small", sent_ns=now) for _ in range(SMALL)])
        pairs = fleet.collect(first, before + SMALL)
        return spread([(at - sent) / MILLISECOND for sent, at in pairs if sent], 0.99)

    with Fleet(stage.redis(), POOL, WORKERS) as fleet:
        cases = [partial(wait, large, large // 10), partial(wait, large, 0), partial(wait, 0, 0)]
        meanwhile, behind, alone = alternate(stage.effort.rounds(ROUNDS), cases)
    return Report(
        f"limits-fairness: how long {SMALL} deliveries of a small tenant wait, p99 from emit to start",
        [
            Row(f"while {large:,} of a large one are worked off", "ms", meanwhile, alone, "alone"),
            Row(f"emitted right after {large:,} of a large one", "ms", behind, alone, "alone"),
        ],
        ["Two places for each tenant, four in all, 20 ms each. Right after them: they must be parked first."],
    )
