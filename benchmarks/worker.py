"""worker: deliveries per second through the whole pipeline, beside plain Celery's tasks with late acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import redis

from benchmarks.apps import rival
from benchmarks.crew import Crew, rate
from benchmarks.rounds import Effort, alternate
from benchmarks.sides import Ours, Plain, Pool, Rival, Side
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target

#: As many messages in the worker's hands with each of them.
POOLS = (Pool("solo", 1, 64), Pool("threads", 8, 8), Pool("prefork", 2, 32))
#: Work for about a second; shorter bursts differ too much from each other.
NUMBER = 4000
SHORTS = 300
ROUNDS = 5


def run(stage: Stage) -> Report:
    """Both brokers, three pools."""
    return _report(stage.brokers(), stage.effort)


def on_redis(stage: Stage) -> Report:
    """As `run`, on Redis only."""
    return _report([stage.redis()], stage.effort)


def _report(brokers: Sequence[Broker], effort: Effort) -> Report:
    report = Report("worker: deliveries (tasks) per second, late acknowledgement, 64 prefetched, same transport")
    for broker in brokers:
        for pool in POOLS:
            report.rows += _compare(broker, pool, effort)
        reason = rival.missing(broker.url)
        report.remarks += [reason] if reason else []
    report.remarks += [
        "On Redis, Celery runs on redis-streams:// as we do.",
        "Window: from 10 to 90 % of a burst that waited in the queue. Processor time: of all of a worker's processes.",
        "Round trips: reads of client sockets that Redis counts (total_reads_processed), the broker's and ours alike;",
        "on RabbitMQ those to the coordination Redis.",
    ]
    return report


def _compare(broker: Broker, pool: Pool, effort: Effort) -> list[Row]:
    ours, plain = Ours(broker), Plain(broker.same_transport, confirmed=False)  # only to fill queues sooner
    sides: list[Side] = [ours, plain]
    if pool.kind == "threads" and rival.missing(broker.url) is None:  # dramatiq knows threads only
        sides.append(Rival(broker, confirmed=False))
    number = effort.times(NUMBER)
    where = f"{broker.name}, {pool}"
    with Crew(pool, *sides) as crew:
        rows = _noops(crew, number, effort.rounds(ROUNDS), where)
        if pool.kind == "threads":
            rows += _shorts(crew, effort.times(SHORTS), effort.rounds(3), where)
        if pool.kind == "solo":
            rows += _traffic(crew, broker, number, where)
    return rows


def _noops(crew: Crew, number: int, rounds: int, where: str) -> list[Row]:
    def burst(side: Side) -> tuple[float, float]:
        before = crew.cpu(side)
        pairs = crew.run(side, "noop", number)
        return rate(pairs), (crew.cpu(side) - before) / number * 1e6

    mine, theirs, *third = (
        tuple(zip(*runs, strict=True)) for runs in alternate(rounds, [partial(burst, side) for side in crew.sides])
    )
    rows = [
        Row(f"{where}: no-op", "/s", mine[0], theirs[0], target=Target("≥", 0.85)),
        Row(f"{where}: processor time of a no-op", "µs", mine[1], theirs[1]),
    ]
    return rows + [Row(f"{where}: no-op", "/s", mine[0], runs[0], "dramatiq") for runs in third]


def _shorts(crew: Crew, number: int, rounds: int, where: str) -> list[Row]:
    def burst(side: Side) -> float:
        return rate(crew.run(side, "short", number))

    mine, *others = alternate(rounds, [partial(burst, side) for side in crew.sides])
    return [
        Row(f"{where}: handler of 20 ms", "/s", mine, rates, side.name)
        for side, rates in zip(crew.sides[1:], others, strict=True)
    ]


def _traffic(crew: Crew, broker: Broker, number: int, where: str) -> list[Row]:
    trips: list[list[float]] = []
    commands: list[list[float]] = []
    with redis.Redis.from_url(broker.redis_url) as client:
        for side in crew.sides:
            gate = crew.close_gate(side)
            side.send("noop", number)
            before = client.info("stats")
            crew.open_gate(side, gate, number)
            after = client.info("stats")
            read, done = (f"total_{what}_processed" for what in ("reads", "commands"))
            trips.append([(after[read] - before[read]) / number])
            commands.append([(after[done] - before[done]) / number])
    target = Target("≤", 0.05, "difference")
    return [
        Row(f"{where}: round trips to Redis per delivery", "", trips[0], trips[1], target=target),
        Row(f"{where}: commands to Redis per delivery", "", commands[0], commands[1]),
    ]
