"""transport: no-op tasks of plain Celery through Redis Streams, beside kombu's own Redis transport and dramatiq."""

from __future__ import annotations

from functools import partial

from benchmarks.crew import Crew, rate
from benchmarks.rounds import alternate
from benchmarks.sides import Plain, Pool, Rival, Side
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target

#: Each pool, and how many times the rate of kombu's transport it must reach.
CASES = (
    (Pool("solo", 1, 64), 5.0),
    (Pool("threads", 8, 8), 3.5),
    (Pool("prefork", 2, 32), 2.5),
    (Pool("solo", 1, 4), 4.0),
)
ROUNDS = 3
NUMBER = 8000
#: Of kombu's transport, which is several times slower: it works for as long as the others do.
FEWER = 2000


def run(stage: Stage) -> Report:
    """Tasks with late acknowledgement in one worker process, of an application that knows nothing of EventSystem."""
    report = Report("transport: no-op tasks per second, late acknowledgement, redis-streams:// against redis://")
    broker = stage.redis()
    for pool, times in CASES:
        report.rows += _compare(broker, pool, times, stage)
    report.remarks = [
        f"{NUMBER:,} tasks a round ({FEWER:,} on redis://) that waited in the queue; from the first to the last tenth.",
        "Prefetch: messages in the worker's hands, for all of its slots together.",
    ]
    return report


def _compare(broker: Broker, pool: Pool, times: float, stage: Stage) -> list[Row]:
    streams, stock = Plain(broker.same_transport, name="streams"), Plain(broker, name="redis://")
    numbers: dict[Side, int] = {streams: NUMBER, stock: FEWER}
    if pool.kind == "threads":  # dramatiq knows no other
        numbers[Rival(broker)] = NUMBER

    def burst(side: Side, number: int) -> float:
        return rate(crew.run(side, "tick", stage.effort.times(number)))

    with Crew(pool, *numbers) as crew:
        measures = [partial(burst, side, number) for side, number in numbers.items()]
        mine, theirs, *third = alternate(stage.effort.rounds(ROUNDS), measures)
    case = f"{pool}, prefetch {pool.prefetch * pool.slots}"
    rows = [Row(case, "/s", mine, theirs, stock.name, target=Target("≥", times))]
    return rows + [Row(case, "/s", mine, rates, "dramatiq", target=Target("≥", 1)) for rates in third]
