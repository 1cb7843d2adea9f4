"""What the kill tests of the transport share: a plain Celery application, its workers, and the account of its runs."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import psutil
import redis
from celery import Celery

import events_core.transport  # noqa: F401  # the scheme redis-streams://
from tests.chaos.support import seed
from tests.support.processes import Process, start_python
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Seconds of silence after which what a process held goes to others.
CLAIM_AFTER = 2.0
#: kombu's own transport with the nearest that it has: what is unacknowledged for so long goes to others.
#: A worker that is killed while it gives back what is due leaves kombu's lock on that, otherwise for five minutes.
STOCK_OPTIONS = {
    "visibility_timeout": CLAIM_AFTER,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 5,
}
STREAMS_OPTIONS = {"claim_after": CLAIM_AFTER}


@dataclass
class Plain:
    """The application on one broker. scheme: of kombu's transport, for the Redis in `server`."""

    server: RedisServer
    record: redis.Redis
    record_url: str
    scheme: str = "redis-streams"
    prefetch: int = 4
    random: random.Random = field(default_factory=lambda: random.Random(seed()))
    kills: int = 0
    _started: int = 0

    @property
    def url(self) -> str:
        return self.server.url().replace("redis", self.scheme, 1)

    @property
    def options(self) -> dict[str, float]:
        return STREAMS_OPTIONS if "streams" in self.scheme else STOCK_OPTIONS

    @property
    def env(self) -> dict[str, str]:
        """What `tests.chaos.plain_app` reads."""
        return {
            "PLAIN_BROKER": self.url,
            "PLAIN_OPTIONS": json.dumps(self.options),
            "PLAIN_PREFETCH": str(self.prefetch),
            "PLAIN_RECORD": self.record_url,
        }

    @cached_property
    def app(self) -> Celery:
        """To publish from this process."""
        app = Celery("plain", broker=self.url, set_as_current=False)
        app.conf.update(broker_transport_options=self.options, task_default_queue="plain", task_ignore_result=True)
        return app

    def publish(self, task: str, numbers: Iterable[int], seconds: float) -> None:
        """Publish a task for each number, many at once."""
        with self.app.producer_pool.acquire(block=True) as producer, producer.batch(100):
            for number in numbers:
                self.app.send_task(task, (number, seconds), producer=producer)

    def worker(self, pool: str, concurrency: int, *, log: str = "WARNING", ready: bool = False) -> Worker:
        """Start `celery worker` in a process group of its own. ready: wait until it says so, which needs log INFO."""
        self._started += 1
        name = f"{pool}{self._started}@{os.getpid()}"
        options = ["--pool", pool, "--concurrency", str(concurrency), "--hostname", name, "--loglevel", log]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        app = ["-m", "celery", "--app", "tests.chaos.plain_app"]
        process = start_python(*app, "worker", *options, *quiet, env=self.env, name=name)
        if ready:
            process.wait_for_log(r"\bready\.\s*$", 60)
        return Worker(name, pool, concurrency, process)

    def runs(self, key: str = "runs", start: int = 0) -> list[tuple[int, str]]:
        """Number and worker of every run, in order. key: `begun` for those of plain.hold that began."""
        pairs = [str(run).split() for run in self.record.lrange(key, start, -1)]
        return [(int(number), name) for number, name in pairs]

    def wait_for(self, count: int, key: str, timeout: float = 60) -> None:
        """Wait until so many runs are recorded. key: as in `runs`."""
        wait_until(lambda: self.record.llen(key) >= count, timeout, f"{count} recorded as {key}")

    def left(self) -> int:
        """Messages that wait or are unacknowledged."""
        with self.server.client() as client:
            if "streams" in self.scheme:
                return sum(int(client.xlen(key)) for key in client.scan_iter("stream:plain*"))
            return sum(int(client.llen(key)) for key in client.scan_iter("plain*")) + int(client.hlen("unacked"))

    def quiet(self, seconds: float) -> Iterator[bool]:
        """For `next` as a condition: whether nothing is left and nothing has run for so long."""
        last, since = -1, time.monotonic()
        while True:
            runs = self.record.llen("runs")
            if self.left() or runs != last:
                last, since = runs, time.monotonic()
            yield time.monotonic() - since >= seconds

    def account(self, owed: Iterable[int]) -> Account:
        """What became of the tasks that were acknowledged to their publisher."""
        times = Counter(number for number, _ in self.runs())
        promised = set(owed)
        return Account(
            owed=len(promised),
            runs=times.total(),
            lost=sorted(promised - set(times)),
            duplicates=times.total() - len(times),
            kills=self.kills,
        )


@dataclass
class Worker:
    """A worker of the application."""

    name: str
    pool: str
    concurrency: int
    process: Process

    def client_addresses(self, port: int) -> set[str]:
        """The addresses, as Redis names them, of its connections to the server at this port."""
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return {f"{c.laddr.ip}:{c.laddr.port}" for c in connections if c.raddr and c.raddr.port == port}


@dataclass(frozen=True)
class Account:
    """What was owed and what happened."""

    owed: int
    runs: int
    lost: list[int]
    duplicates: int
    kills: int

    def __str__(self) -> str:
        return (
            f"{self.owed:,} tasks acknowledged, {self.kills} kills, {self.runs:,} runs, {len(self.lost)} lost, "
            f"{self.duplicates} ran twice"
        )
