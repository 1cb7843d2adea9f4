"""The work as tasks of plain Celery, set up as its documentation advises for work that must not get lost."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from celery import Celery, Task

from benchmarks.apps import work
from benchmarks.apps.marks import mark

QUEUE = "plain"

Envelope = dict[str, Any]


def make(broker_url: str, *, confirmed: bool = True) -> Celery:
    """A Celery app with one task for each kind of work.

    confirmed: on RabbitMQ, wait for the broker's confirmation of each message. Celery's default is not to.
    """
    if "-streams://" in broker_url:
        importlib.import_module("events_core.transport")  # registers the scheme; on any other, Celery is by itself
    app = Celery("plain", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
    )
    if confirmed and broker_url.startswith("amqp"):
        app.conf.broker_transport_options = {"confirm_publish": True}
    for function in (tick, noop, short, wait, timed, gate):
        app.task(function, name=f"plain.{function.__name__}")
    app.task(parent, name="plain.parent", bind=True)
    return app


def tick(number: int) -> None:
    mark()


def noop(envelope: Envelope) -> None:
    mark()


def short(envelope: Envelope) -> None:
    work.short()


def wait(envelope: Envelope) -> None:
    asyncio.run(work.wait())  # Celery knows no async tasks: this is what its users write


def parent(self: Task, envelope: Envelope) -> None:
    mark()
    self.app.tasks["plain.noop"].delay(envelope)


def timed(envelope: Envelope) -> None:
    mark(envelope["data"]["sent_ns"])


def gate(envelope: Envelope) -> None:
    work.gate(envelope["data"]["gate"])
