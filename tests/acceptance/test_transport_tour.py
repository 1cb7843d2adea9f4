"""What Celery's users do over a broker, on Redis Streams: `celery inspect`, `celery control`, revoke, ETA, priorities,
purge, Flower. Each test prints what was printed to it: run with -s to read it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from celery import Celery

import events_core.transport  # noqa: F401  # the scheme redis-streams://
from tests.support import processes
from tests.support.dashboard import Dashboard
from tests.support.ports import free_port
from tests.support.servers import GivenRedis, RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

APP = ["-m", "celery", "-A", "tests.chaos.plain_app"]


@dataclass
class Tour:
    """A plain Celery application with one worker, and the commands of `celery` on it."""

    env: dict[str, str]
    app: Celery
    worker: processes.Process
    record: redis.Redis
    name: str

    def celery(self, *args: str) -> str:
        """What `celery ARGS` prints; it must succeed."""
        ran = subprocess.run(
            [sys.executable, *APP, *args],
            env=processes.child_env(self.env),
            cwd=processes.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        print(f"$ celery {' '.join(args)}\n{ran.stdout.strip()}")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def ask(self, command: str, *args: str) -> str:
        """As `celery`, of our worker alone: the command ends when it has answered."""
        return self.celery(command, "--destination", self.name, *args)

    def note(self, what: str, **options: object) -> str:
        """Publish a task that leaves a note; its id."""
        return str(self.app.send_task("plain.note", (what,), **options).id)

    def hold(self) -> str:
        """Publish a task that runs until it is terminated, and wait until it does; its id."""
        begun = self.record.llen("begun")
        task = str(self.app.send_task("plain.hold", (0, 600)).id)
        wait_until(lambda: self.record.llen("begun") > begun, what="the task to begin")
        return task

    def notes(self, prefix: str) -> dict[str, float]:
        """The notes that begin so, in order, and when each was left (seconds since 1970)."""
        notes = [str(note).split() for note in self.record.lrange("notes", 0, -1)]
        return {what: float(when) for what, when in notes if what.startswith(prefix)}

    def waiting(self, queue: str) -> int:
        """The length of the queue, as kombu tells it."""
        with self.app.connection_for_read() as connection, connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)


@pytest.fixture
def tour(redis_server: RedisServer | GivenRedis, redis_url: str) -> Iterator[Tour]:
    broker = redis_url.replace("redis://", "redis-streams://", 1)
    env = {"PLAIN_BROKER": broker, "PLAIN_RECORD": redis_url}
    name = f"tour@{os.getpid()}"
    options = ["-E", "-P", "prefork", "-c", "1", "-n", name, "-l", "INFO", "--without-gossip", "--without-mingle"]
    worker = processes.start_python(*APP, "worker", *options, env=env, name=name)
    record = redis_server.client()
    record.connection_pool.connection_kwargs["decode_responses"] = True
    with Celery("plain", broker=broker, set_as_current=False) as app:
        app.conf.update(task_default_queue="plain", task_ignore_result=True)
        worker.wait_for_log(r"\bready\.\s*$", 60)
        yield Tour(env, app, worker, record, name)


def test_inspect(tour: Tour) -> None:
    assert "pong" in tour.celery("inspect", "ping")
    running = tour.hold()
    active = json.loads(tour.ask("inspect", "--json", "active"))
    assert [found["id"] for found in active[tour.name]] == [running]
    stats = json.loads(tour.ask("inspect", "--json", "stats"))[tour.name]
    assert stats["broker"]["transport"] == "redis-streams"
    assert stats["prefetch_count"] == 4
    assert stats["pool"]["max-concurrency"] == 1


def test_priorities(tour: Tour) -> None:
    for priority in range(9, -1, -1):
        tour.note(f"priority-{priority}", queue="urgent", priority=priority)
    tour.app.control.add_consumer("urgent", destination=[tour.name], reply=True)
    wait_until(lambda: len(tour.notes("priority-")) == 10, what="ten tasks")
    order = [int(what.removeprefix("priority-")) for what in tour.notes("priority-")]
    print(f"published with priorities 9 to 0, run in this order: {order}")
    # Celery's steps are 0, 3, 6 and 9, the lowest the most urgent; within a step, first come, first served
    assert order == [2, 1, 0, 5, 4, 3, 8, 7, 6, 9]


def test_eta_and_revoke(tour: Tour) -> None:
    start = time.time()
    tour.note("eta", countdown=3)
    revoked = tour.note("revoked", countdown=3)
    wait_until(lambda: revoked in tour.worker.log, what="the task to be received")
    tour.app.control.revoke(revoked)
    tour.worker.wait_for_log(rf"Discarding revoked task: plain\.note\[{revoked}\]")
    waited = wait_until(lambda: tour.notes("eta"), what="the task of later")["eta"] - start
    print(f"with a countdown of 3 s: run after {waited:.1f} s; the revoked one is discarded")
    assert waited >= 3
    assert not tour.notes("revoked")


def test_purge(tour: Tour) -> None:
    _publish_to(tour, "rubbish", 10_000)
    assert tour.waiting("rubbish") == 10_000
    assert "Purged 10000 messages" in tour.celery("purge", "-f", "-Q", "rubbish")
    assert tour.waiting("rubbish") == 0


def test_flower_and_revoke_of_what_runs(tour: Tour) -> None:
    running = tour.hold()
    _publish_to(tour, "plain", 19)
    tour.note("behind")
    port = free_port()
    env = {**tour.env, "FLOWER_UNAUTHENTICATED_API": "1"}
    flower = processes.start_python(*APP, "flower", "--address=127.0.0.1", f"--port={port}", env=env)
    dashboard = Dashboard(port, flower)
    dashboard.wait_until_it_serves()
    wait_until(lambda: tour.name in dashboard.page("/workers"), what="Flower to hear of the worker")
    for page in ("/", "/workers", f"/worker/{tour.name}", "/tasks", "/broker"):
        print(f"GET {page}: {len(dashboard.page(page)):,} characters")
    lengths = dashboard.page("/api/queues/length")
    print(f"GET /api/queues/length: {lengths}")
    # of these 21, the worker has as many in its hands as it may
    assert json.loads(lengths) == {"active_queues": [{"name": "plain", "messages": 21 - 4}]}

    tour.app.control.revoke(running, terminate=True)
    wait_until(lambda: dashboard.tasks().get(running, {}).get("state") == "REVOKED", what="Flower to say so")
    print(f"GET /api/tasks: {running} is {dashboard.tasks()[running]['state']}")
    wait_until(lambda: tour.notes("behind"), what="the tasks behind it")


def test_control(tour: Tour) -> None:
    assert "pool will grow" in tour.ask("control", "pool_grow", "1")
    assert "new rate limit set successfully" in tour.ask("control", "rate_limit", "plain.note", "100/s")
    assert "no longer consuming from plain" in tour.ask("control", "cancel_consumer", "plain")
    tour.note("cancelled")
    assert tour.waiting("plain") == 1
    assert "add consumer plain" in tour.ask("control", "add_consumer", "plain")
    wait_until(lambda: tour.notes("cancelled"), what="the task that waited for a consumer")


def _publish_to(tour: Tour, queue: str, count: int, **options: object) -> None:
    with tour.app.producer_pool.acquire(block=True) as producer, producer.batch(500):
        for _ in range(count):
            tour.app.send_task("plain.note", ("waits",), queue=queue, producer=producer, **options)
