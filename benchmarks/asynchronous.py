"""async: many handlers that wait, in one process."""

from __future__ import annotations

from benchmarks.crew import Crew, rate_over_all
from benchmarks.rounds import alternate
from benchmarks.sides import Ours, Plain, Pool, Side
from benchmarks.stage import Stage
from benchmarks.table import Report, Row, Target

NUMBER = 2000
POOL = Pool("threads", 200, 1)


def run(stage: Stage) -> Report:
    """2,000 handlers that wait 100 ms each, on RabbitMQ."""
    broker = stage.rabbitmq()
    ours, plain = Ours(broker), Plain(broker, confirmed=False)  # only to fill the queue sooner
    number = stage.effort.times(NUMBER)

    def burst(side: Side) -> float:
        # two marks each: when the handler starts, and when it has waited
        return rate_over_all(crew.run(side, "wait", number, each=2), number)

    with Crew(POOL, ours, plain) as crew:
        mine, theirs = alternate(stage.effort.rounds(5), [lambda: burst(ours), lambda: burst(plain)])
    return Report(
        "async: 2,000 async handlers that wait 100 ms, one process, 200 threads, RabbitMQ",
        [Row("from the first start to the last end", "/s", mine, theirs, target=Target("≥", 1200, "ours"))],
        ["200 at once that wait 100 ms make 2,000 a second at most. Plain Celery calls asyncio.run() in each task."],
    )
