"""slower: the cases in which celery-events costs more than plain Celery, named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import kombu.pools
import redis

from benchmarks.apps import ours, plain
from benchmarks.apps.ours import Noop, envelope_of
from benchmarks.crew import Crew, rate
from benchmarks.publishing import Emitting, three
from benchmarks.rounds import alternate, microseconds
from benchmarks.sides import Ours, Plain, Pool
from benchmarks.stage import Broker, Stage, newest
from benchmarks.table import Report, Row
from tests.support.processes import child_env

POOL = Pool("threads", 8, 8)
CHAINS = 600


def run(stage: Stage) -> Report:
    """Cold starts, single emits on RabbitMQ, sizes, follow-ups, memory, imports."""
    report = Report("slower: where plain Celery costs less")
    for broker in stage.brokers():
        report.rows.append(_cold(stage, broker))
        if broker.name == "RabbitMQ":
            report.rows.append(_single(stage, broker))
        report.rows.append(_aemit(stage, broker))
        report.rows += _in_workers(stage, broker)
    report.rows += _sizes(stage.redis())
    report.rows.append(_imports(stage))
    report.remarks = [
        "Cold: a new system (a new Celery app) without any connection. Follow-ups: half of the deliveries return an",
        "event, or call delay(); both wait for the broker's confirmation before they acknowledge.",
    ]
    return report


def _cold(stage: Stage, broker: Broker) -> Row:
    def emit() -> float:
        side = Ours(broker)
        elapsed = _milliseconds(lambda: side.system.emit(three()))
        side.close()
        return elapsed

    def delay() -> float:
        kombu.pools.reset()  # shared by all apps of a process
        side, envelope = Plain(broker), envelope_of("noop")
        side.app.finalize()
        elapsed = _milliseconds(lambda: side.app.tasks["plain.noop"].delay(envelope))
        side.close()
        return elapsed

    mine, theirs = alternate(stage.effort.rounds(15), [emit, delay])
    return Row(f"{broker.name}: first emit (3 handlers), cold", "ms", mine, theirs, "first delay()")


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def _single(stage: Stage, broker: Broker) -> Row:
    times = stage.effort.times(200)
    with Emitting(broker, confirmed=False) as emitting:
        mine, theirs = alternate(
            stage.effort.rounds(7),
            [
                microseconds(lambda: emitting.system.emit(Noop(order_id=uuid4())), times),
                microseconds(emitting.delay, times),
            ],
            between=emitting.drop,
        )
    return Row("RabbitMQ: emit with 1 handler (always confirmed)", "µs", mine, theirs, "delay() unconfirmed")


def _aemit(stage: Stage, broker: Broker) -> Row:
    times = stage.effort.times(200)

    async def in_turn() -> None:
        for _ in range(times):
            await emitting.system.aemit(Noop(order_id=uuid4()))

    with Emitting(broker) as emitting:
        mine, theirs = alternate(
            stage.effort.rounds(7),
            [
                microseconds(lambda: asyncio.run(in_turn()), 1, per=times),
                microseconds(emitting.delay, times),
            ],
            between=emitting.drop,
        )
    return Row(
        f"{broker.name}: aemit with 1 handler, one after another", "µs", mine, theirs, "delay() blocking the loop"
    )


def _in_workers(stage: Stage, broker: Broker) -> list[Row]:
    sides = Ours(broker), Plain(broker.same_transport)
    number = stage.effort.times(CHAINS)
    with Crew(POOL, *sides) as crew:
        mine, theirs = alternate(
            stage.effort.rounds(3),
            [lambda: rate(crew.run(side, "parent", number, each=2)) for side in sides],  # noqa: B023
        )
        memory = [[crew.memory(side)] for side in sides]
    return [
        Row(f"{broker.name}: handlers with a follow-up, {POOL}", "/s", mine, theirs, "delay() in a task"),
        Row(f"{broker.name}: memory of a worker, {POOL}", "MiB", memory[0], memory[1]),
    ]


def _sizes(broker: Broker) -> list[Row]:
    """What a message takes up in Redis; the same but for base64 on RabbitMQ."""
    event = Noop(order_id=uuid4())
    with Emitting(broker) as emitting, redis.Redis.from_url(broker.redis_url) as client:
        emitting.drop()
        task = emitting.app.tasks["plain.noop"]
        emitting.system.emit(event)
        task.delay(emitting.envelope)
        task.delay({"order_id": str(event.order_id), "email": event.email, "total": event.total})
        small, same = (float(len(client.lindex(plain.QUEUE, index) or b"")) for index in (0, 1))
        mine = float(len(newest(client, ours.QUEUE)))
    return [
        Row("Redis: size of a message, same content", "bytes", [mine], [same]),
        Row("Redis: size of a message, only the order's data", "bytes", [mine], [small]),
    ]


def _imports(stage: Stage) -> Row:
    def importing(statement: str) -> Callable[[], float]:
        command = [sys.executable, "-c", statement]
        return lambda: _milliseconds(lambda: subprocess.run(command, env=child_env(), check=True))

    mine, theirs = alternate(
        stage.effort.rounds(5),
        [importing("from events_core import EventSystem"), importing("from celery import Celery, Task")],
    )
    return Row("a process that only imports it", "ms", mine, theirs)
