"""limits-cost: throughput and round trips of deliveries with a limit, beside the same without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.apps.limited import Free, Noop, Parked, Permitted
from benchmarks.crew import rate
from benchmarks.fleet import Fleet
from benchmarks.rounds import Effort, alternate
from benchmarks.sides import Pool
from benchmarks.stage import Stage
from benchmarks.table import Report, Row, Target

POOLS = (Pool("threads", 8, 8), Pool("prefork", 2, 8), Pool("solo", 1, 64))
NUMBER = 4000
#: Parked ones are handed on one by one.
FEWER = 1000
ROUNDS = 5


def run(stage: Stage) -> Report:
    """One worker, three pools, on Redis."""
    rows = []
    for pool in POOLS:
        with Fleet(stage.redis(), pool) as fleet:
            rows += [_throughput(fleet, stage.effort), *_traffic(fleet, stage.effort)]
    return Report(
        "limits-cost: no-op deliveries, with a limit that never binds, with one of which one runs at once, without",
        rows,
        [
            "Trips: round trips to Redis. To admit and dismiss: calls of the admission library, the worker's clock's",
            "included. All: reads of client sockets that Redis counts, the broker's and the emitter's included.",
            "Parked ones all wait before the first of them runs; but under threads they are delivered twice.",
            "Solo runs one at a time, of 64 that it has: it asks for the next one as soon as one has ended.",
        ],
    )


def _throughput(fleet: Fleet, effort: Effort) -> Row:
    number = effort.times(NUMBER)

    def burst(event: type[Noop]) -> float:
        with fleet.closed():
            first = fleet.count
            fleet.system.emit_many([event() for _ in range(number)])
        return rate(fleet.collect(first, number))

    limited, free = alternate(effort.rounds(ROUNDS), [partial(burst, Permitted), partial(burst, Free)])
    return Row(f"{fleet.pool}: permitted", "/s", limited, free, "no limit", target=Target("≥", 0.4))


def _traffic(fleet: Fleet, effort: Effort) -> list[Row]:
    number = effort.times(FEWER)
    where, pairs = str(fleet.pool), []

    def permitted(event: type[Noop]) -> None:
        with fleet.closed():
            first = fleet.count
            fleet.system.emit_many([event() for _ in range(number)])
        fleet.wait(first + number)

    def parked() -> None:
        first = fleet.count
        fleet.override("parked", 0)
        fleet.system.emit_many([Parked() for _ in range(number)])
        fleet.wait_for_parked(number)
        fleet.override("parked", 1)
        pairs.extend(fleet.collect(first, number))

    def trips(work: Callable[[], None]) -> tuple[float, float]:
        before = fleet.trips()
        work()
        return tuple((now - then) / number for now, then in zip(fleet.trips(), before, strict=True))  # type: ignore[return-value]

    _, free = trips(partial(permitted, Free))
    asked, more = trips(partial(permitted, Permitted))
    asked_parked, most = trips(parked)
    return [
        Row(f"{where}: to admit and dismiss a permitted one", "trips", [asked], target=Target("≤", 2, "ours")),
        Row(f"{where}: likewise a parked one", "trips", [asked_parked], target=Target("≤", 4, "ours")),
        Row(f"{where}: all of a permitted one", "trips", [more], [free], "no limit"),
        Row(f"{where}: all of a parked one", "trips", [most], [free], "no limit"),
        Row(f"{where}: handed on, one at a time", "/s", [rate(pairs)]),
    ]
