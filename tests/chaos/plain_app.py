"""A plain Celery application under attack: every run is recorded in a Redis of its own, which nobody kills."""

from __future__ import annotations

import json
import os
import time

import redis
from celery import Celery, Task

import events_core.transport  # noqa: F401  # the scheme redis-streams://, and nothing else

record = redis.Redis.from_url(os.environ["PLAIN_RECORD"], decode_responses=True)
app = Celery("plain", broker=os.environ["PLAIN_BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("PLAIN_OPTIONS", "{}")),
    task_acks_late=True,
    task_default_queue="plain",
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=int(os.environ.get("PLAIN_PREFETCH", "4")),
)


@app.task(name="plain.run", bind=True)  # type: ignore[untyped-decorator]
def run(self: Task, number: int, seconds: float) -> None:
    """Recorded with one command when it ends, with the worker that ran it."""
    time.sleep(seconds)
    record.rpush("runs", f"{number} {self.request.hostname}")


@app.task(name="plain.hold", bind=True)  # type: ignore[untyped-decorator]
def hold(self: Task, number: int, seconds: float) -> None:
    """Recorded when it begins, too."""
    record.rpush("begun", f"{number} {self.request.hostname}")
    time.sleep(seconds)
    record.rpush("runs", f"{number} {self.request.hostname}")


@app.task(name="plain.note")  # type: ignore[untyped-decorator]
def note(what: str) -> None:
    """Leaves a note with the time."""
    record.rpush("notes", f"{what} {time.time()}")
