"""A project with a Celery app of its own, to which it adds celery-events."""

from __future__ import annotations

import json
import os

from celery import Celery
from celery.signals import worker_ready

from events_core import DomainEvent, EventSystem
from tests.apps.recording import record

app = Celery("project", broker=os.environ.get("TEST_BROKER", "memory://"))
app.conf.update(
    task_default_queue=os.environ.get("TEST_OLD_QUEUE", "project.old"),
    task_acks_late=False,
    worker_prefetch_multiplier=4,
    task_time_limit=600,
    broker_connection_retry_on_startup=True,
)
events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"), celery=app)


class Signed(DomainEvent, event_type="existing.signed"):
    tag: str
    order_id: int


@app.task(name="project.invoice")  # type: ignore[untyped-decorator]
def invoice(order_id: int, tag: str) -> None:
    record(tag, "invoice", order_id=order_id)


@app.task(name="project.plain")  # type: ignore[untyped-decorator]
def plain(tag: str) -> None:
    record(tag, "plain")


@events.handler(Signed, queue="existing.letters")
def letter(event: Signed) -> None:
    record(event.tag, "letter", order_id=event.order_id)


events.handler(Signed, task=invoice, args=lambda event: (event.order_id, event.tag))


def settings() -> dict[str, str]:
    """The app's settings as they are in this process, but for `include`, by which the worker finds our tasks."""
    configured = app.conf.broker_url  # reading one loads them all
    return {"broker": repr(configured)} | {k: repr(value) for k, value in app.conf.items() if k != "include"}


@worker_ready.connect  # type: ignore[untyped-decorator]
def tell(**_: object) -> None:
    record("settings", "in the worker", values=json.dumps(settings(), sort_keys=True))
