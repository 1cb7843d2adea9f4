"""latency: from emit to the start of the handler, at a steady rate."""

from __future__ import annotations

import time

from benchmarks.crew import Crew, spread
from benchmarks.rounds import alternate
from benchmarks.sides import Ours, Plain, Pool
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target

RATE = 200  # per second
SECONDS = 3
POOL = Pool("threads", 8, 8)
MILLISECOND = 1e6  # nanoseconds


def run(stage: Stage) -> Report:
    """Both brokers, 200 events a second, with `delay()` at the same rate beside it."""
    report = Report(f"latency: milliseconds from emit to the start of the handler, {RATE}/s, {POOL.slots} threads")
    for broker in stage.brokers():
        report.rows += _compare(broker, stage)
    report.remarks = [
        "The moment before emit() or delay() is called, and the first line of the handler, on one clock. On RabbitMQ",
        "delay() waits for the broker's confirmation as emit() does; that wait is after the message has left.",
    ]
    return report


def _compare(broker: Broker, stage: Stage) -> list[Row]:
    number = stage.effort.times(RATE * SECONDS)
    ours, plain = Ours(broker), Plain(broker)
    with Crew(broker, POOL, ours, plain) as crew:
        measures = [lambda: _paced(crew, ours, number), lambda: _paced(crew, plain, number)]
        mine, theirs = alternate(stage.effort.rounds(5), measures)

    def row(label: str, part: float, limit: float) -> Row:
        our_part, their_part = ([spread(latencies, part) for latencies in runs] for runs in (mine, theirs))
        return Row(f"{broker.name}: {label}", "ms", our_part, their_part, "delay()", target=Target("≤", limit))

    return [row("p50", 0.5, 1.2), row("p99", 0.99, 1.6)]


def _paced(crew: Crew, side: Ours | Plain, number: int) -> list[float]:
    """Latencies in milliseconds. A late start of one does not delay those after it: each has its own moment."""
    first = crew.count(side)
    begin = time.monotonic()
    for index in range(number):
        pause = begin + index / RATE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        side.send_timed()
    return [(at - sent) / MILLISECOND for sent, at in crew.collect(side, first, number)]
