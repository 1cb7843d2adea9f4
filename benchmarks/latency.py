"""latency: from emit to the start of the handler, at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from benchmarks.crew import Crew, spread
from benchmarks.rounds import alternate
from benchmarks.sides import Ours, Plain, Pool, Timed
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target

RATE = 200  # per second
SECONDS = 3
#: What p50 and p99 may be, as parts of those of delay(): by broker.
LIMITS = {"Redis": (1.0, 1.3), "RabbitMQ": (1.2, 1.6)}
POOL = Pool("threads", 8, 8)
MILLISECOND = 1e6  # nanoseconds


def run(stage: Stage) -> Report:
    """Both brokers, 200 events a second, with `delay()` at the same rate beside it."""
    return _report(stage.brokers(), stage)


def on_redis(stage: Stage) -> Report:
    """As `run`, on Redis only."""
    return _report([stage.redis()], stage)


def _report(brokers: Sequence[Broker], stage: Stage) -> Report:
    report = Report(f"latency: milliseconds from emit to the start of the handler, {RATE}/s, {POOL.slots} threads")
    for broker in brokers:
        report.rows += compare(broker, stage, Ours(broker), LIMITS[broker.name])
    report.remarks = [
        "On Redis, delay() is that of Celery on kombu's own transport, and once more on redis-streams://.",
        "The moment before emit() or delay() is called, and the first line of the handler, on one clock. On RabbitMQ",
        "delay() waits for the broker's confirmation as emit() does; that wait is after the message has left.",
    ]
    return report


def compare(broker: Broker, stage: Stage, ours: Timed, limits: Sequence[float | None]) -> list[Row]:
    """p50 and p99 beside those of `delay()`. limits: what each may be, as a part of that; None: anything."""
    number = stage.effort.times(RATE * SECONDS)
    sides: list[Timed] = [ours, Plain(broker)]
    if broker.same_transport != broker:
        sides.append(Plain(broker.same_transport, name="streams"))
    with Crew(POOL, *sides) as crew:
        measures = [partial(paced, crew, side, number) for side in sides]
        mine, theirs, *third = alternate(stage.effort.rounds(5), measures)

    def row(label: str, part: float, others: list[list[float]], rival: str, target: Target | None = None) -> Row:
        our_part, their_part = ([spread(latencies, part) for latencies in runs] for runs in (mine, others))
        return Row(f"{broker.name}: {label}", "ms", our_part, their_part, rival, target=target)

    rows = []
    for label, part, limit in zip(("p50", "p99"), (0.5, 0.99), limits, strict=True):
        rows.append(row(label, part, theirs, "delay()", None if limit is None else Target("≤", limit)))
        rows += [row(label, part, runs, "delay(), streams") for runs in third]
    return rows


def paced(crew: Crew, side: Timed, number: int) -> list[float]:
    """Latencies in milliseconds. A late start of one does not delay those after it: each has its own moment."""
    first = crew.count(side)
    begin = time.monotonic()
    for index in range(number):
        pause = begin + index / RATE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        side.send_timed()
    return [(at - sent) / MILLISECOND for sent, at in crew.collect(side, first, number)]
