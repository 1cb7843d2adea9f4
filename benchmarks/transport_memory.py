"""transport-memory: whether a worker on Redis Streams and its Redis grow with the number of tasks done."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from uuid import uuid4

import redis

from benchmarks.apps import plain
from benchmarks.crew import Crew
from benchmarks.sides import Plain, Pool
from benchmarks.stage import Stage, newest, stream_of
from benchmarks.table import Report, Row, Target
from events_core.transport import keys
from tests.support.waiting import wait_until

#: Names the number of tasks, for a shorter run.
VARIABLE = "BENCH_MEMORY_TASKS"
TASKS = 1_000_000
#: The part of them after which memory is measured first: 50,000 of 1,000,000.
FIRST = 1 / 20
POOL = Pool("solo", 1, 64)
BATCH = 500
#: In the message that is published over and over, in place of which each gets an id of its own.
TASK_ID = b"00000000-0000-4000-8000-000000000000"
#: As much waits at most, so that Redis holds as much at both times.
BACKLOG = 3000
FLAT = 1.10
SETTLED = 30.0  # seconds for the last acknowledgements to arrive


def run(stage: Stage) -> Report:
    """One solo worker of plain Celery on redis-streams://, kept busy."""
    total = int(os.environ.get(VARIABLE) or stage.effort.times(TASKS))
    first = int(total * FIRST)
    broker = stage.redis()
    side = Plain(broker.same_transport, name="streams")
    with redis.Redis.from_url(broker.redis_url) as client:
        template = _template(side, client)
        with Crew(POOL, side) as crew:
            before, after, rate = _measure(_Feed(crew, side, client, template), total, first)
    against, target = f"after {first:,}", Target("≤", FLAT)
    return Report(
        f"transport-memory: after {total:,} no-op tasks through one solo worker",
        [
            Row("memory of the worker", "MiB", [after.worker], [before.worker], against, target=target),
            Row("memory of Redis", "MiB", [after.redis], [before.redis], against, target=target),
            Row("keys in Redis", "", [after.keys], [before.keys], against, target=Target("≤", 1)),
            Row("tasks done, while another process publishes them", "/s", [rate]),
        ],
        ["Measured while nothing waits. Worker: resident set. Redis: used_memory."],
    )


def _measure(feed: _Feed, total: int, first: int) -> tuple[_Sizes, _Sizes, float]:
    """Sizes after the first and after all, and tasks per second between."""
    feed.work(first)
    before = feed.sizes()
    begin = time.monotonic()
    feed.work(total - first)
    rate = (total - first) / (time.monotonic() - begin)
    return before, feed.sizes(), rate


@dataclass(frozen=True)
class _Sizes:
    """MiB of the worker and of Redis, and the number of keys."""

    worker: float
    redis: float
    keys: float


class _Feed:
    """Keeps one worker busy without ever leaving much in its queue."""

    def __init__(self, crew: Crew, side: Plain, client: redis.Redis, template: bytes) -> None:
        self._crew, self._side, self._client, self._template = crew, side, client, template

    def work(self, number: int) -> None:
        """Publish that many tasks; return when they are done and acknowledged."""
        done = self._crew.count(self._side)
        for sent in range(0, number, BATCH):
            self._crew.wait(self._side, done + sent + BATCH - BACKLOG)
            self._publish(min(BATCH, number - sent))
        self._crew.wait(self._side, done + number)
        stream = stream_of(plain.QUEUE)
        wait_until(lambda: not self._client.xlen(stream), SETTLED, f"{stream} to be empty")

    def _publish(self, number: int) -> None:
        """As Celery would, but one process can keep ahead of the worker and leave it a core."""
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(number):
                message = self._template.replace(TASK_ID, str(uuid4()).encode())
                pipeline.xadd(stream_of(plain.QUEUE), {keys.FIELD: message})
            pipeline.execute()

    def sizes(self) -> _Sizes:
        """What is held now."""
        self._client.connection_pool.disconnect()  # its buffers in Redis are not the transport's
        used = self._client.info("memory")["used_memory"] / 2**20
        return _Sizes(self._crew.memory(self._side), used, self._client.dbsize())


def _template(side: Plain, client: redis.Redis) -> bytes:
    """A message as Celery makes it, with TASK_ID in place of its id. Leaves the queue empty."""
    stream = stream_of(plain.QUEUE)
    side.app.tasks["plain.tick"].apply_async((1,), task_id=TASK_ID.decode())
    message = newest(client, plain.QUEUE)
    client.delete(stream)
    return message
