"""A plain Celery application, with nothing of the project but the transport.

Its tasks note what they do in a folder: one line for each start and each end, so that whatever happens to the broker
or the workers the account is whole.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject

import events_core.transport  # noqa: F401  (registers redis-streams://)

FOLDER = Path(os.environ.get("CONTRACT_FOLDER", "."))

app = Celery("contract", broker=os.environ.get("CONTRACT_BROKER"), set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=os.environ.get("CONTRACT_QUEUE", "contract"),
    worker_hijack_root_logger=True,
    **json.loads(os.environ.get("CONTRACT_CONF", "{}")),
)


def note(what: str, number: int) -> None:
    """Appends a line to the account, in one write."""
    with (FOLDER / "account").open("a") as account:
        account.write(f"{what} {number} {os.environ.get('CONTRACT_WORKER')}\n")


def wait_for(name: str) -> None:
    """Waits until the test has made a file of that name."""
    while not (FOLDER / name).exists():
        time.sleep(0.02)


@app.task(name="contract.quick")
def quick(number: int) -> None:
    note("start", number)
    note("end", number)


@app.task(name="contract.held")
def held(number: int, gate: str = "open") -> None:
    """Runs until the test opens the gate."""
    note("start", number)
    wait_for(gate)
    note("end", number)


@app.task(name="contract.early", acks_late=False)
def early(number: int) -> None:
    """Acknowledged before it runs."""
    held(number)


@app.task(name="contract.retried", bind=True, max_retries=2)
def retried(self: Task, number: int) -> None:
    """Ends at its third try, each a quarter of a second after the one before."""
    note("start", number)
    if self.request.retries < 2:
        raise self.retry(countdown=0.25)
    note("end", number)


@app.task(name="contract.rejected", bind=True)
def rejected(self: Task, number: int) -> None:
    """Puts itself back once."""
    information: dict[str, Any] = self.request.delivery_info
    note("again" if information.get("redelivered") else "start", number)
    if not information.get("redelivered"):
        raise Reject("not now", requeue=True)
    note("end", number)
