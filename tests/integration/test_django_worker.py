"""Workers of a Django project: handlers are found, and no database connection outlives its delivery."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.support.django_project import Project
from tests.support.processes import Process
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

HANDLERS = """
import asyncio, os, threading

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from events_core.contrib.django import events
from orders.events import Confirmed, Placed
from orders.models import Order


@events.handler(Placed)
def note(event: Placed) -> None:
    assert connection.connection is None, "left by another delivery"
    with transaction.atomic():
        Order.objects.create(number=event.number, note="sync")
        events.emit(Confirmed(number=event.number))
    if event.number % 2:
        connection.connection.close()  # the server has dropped it


@events.handler(Placed)
async def anote(event: Placed) -> None:
    assert await sync_to_async(lambda: connection.connection)() is None, "left by another delivery"
    await Order.objects.acreate(number=event.number, note="async")
    if event.number % 2:
        await sync_to_async(lambda: connection.connection.close())()


@events.handler(Confirmed)
async def confirm(event: Confirmed) -> None:
    await Order.objects.acreate(number=event.number, note="confirmed")
"""
EMIT = """
tables()
events.emit_many([Placed(number=n) for n in range(8)])
"""
DONE = {"async": 8, "confirmed": 8, "sync": 8}


def at(folder: Path, redis_url: str, system: str, **more: str) -> Project:
    return Project.at(folder, redis_url, system, **{"orders_handlers": HANDLERS, **more})


def wait_until_done(project: Project, worker: Process) -> None:
    with closing(sqlite3.connect(project.folder / "default.sqlite3", timeout=20)) as database:

        def notes() -> dict[str, int]:
            return dict(database.execute("SELECT note, count(*) FROM orders_order GROUP BY note"))

        try:
            wait_until(lambda: notes() == DONE, 60, "every handler to have run once")
        except AssertionError as error:
            raise AssertionError(f"{error}: {notes()}\n{worker.log[-4000:]}") from None


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_connections_end_with_their_delivery(tmp_path: Path, redis_url: str, system_name: str, pool: str) -> None:
    """Also those that the server has dropped; an `emit` in a handler's transaction is held by the delivery."""
    project = at(tmp_path, redis_url, system_name)
    project.run(EMIT)
    worker = project.worker(pool=pool)
    wait_until_done(project, worker)
    wait_until(lambda: not open_databases(worker.pid), 20, "the worker to have no database open")
    assert "Traceback" not in worker.log
    assert worker.terminate() == 0


@pytest.mark.parametrize(
    "command", [["-m", "django", "events", "worker"], ["-m", "events_worker.cli", "worker", "-A", "own_system"]]
)
def test_each_way_to_start_one_sets_django_up_first(
    tmp_path: Path, redis_url: str, system_name: str, command: list[str]
) -> None:
    """`manage.py events worker`, and `events worker` with the system that the project makes itself."""
    own = f"from events_core import EventSystem\n\nevents = EventSystem({system_name!r})\n"
    project = at(tmp_path, redis_url, system_name, settings="EVENTS = {'SYSTEM': 'own_system.events'}", own_system=own)
    project.run(EMIT)
    wait_until_done(project, project.start(*command, "-P", "threads", "-c", "2", "--without-mingle"))


def test_the_projects_own_celery_app(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """`celery -A shop`, as in Django projects with Celery: the worker learns of the system when Django is set up."""
    celery = f"""
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
app = Celery("shop", broker={redis_url!r})
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
    project = at(tmp_path, redis_url, system_name, settings="EVENTS['CELERY'] = 'shop.app'", shop=celery)
    project.run(EMIT)
    wait_until_done(project, project.start("-m", "celery", "-A", "shop", "worker", "-P", "solo"))


KILLS = """
import os

from events_core.contrib.django import events
from orders.events import Placed
from orders.models import Order


@events.handler(Placed, retry=None)
def end_the_process(event: Placed) -> None:
    Order.objects.create(number=event.number)
    os._exit(3)
"""


def test_what_ends_its_process_is_proven_in_one_of_its_own(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """The process for suspects knows Django too."""
    project = at(tmp_path, redis_url, system_name, orders_handlers=KILLS)
    project.run("tables()\nevents.emit(Placed(number=1))")
    worker = project.worker(pool="prefork")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        letters = f"{system_name}:dead:letters"
        wait_until(lambda: '"reason": "poison"' in str(client.hvals(letters)), 90, "the dead letter")
    assert "runs in the worker" not in worker.log


def open_databases(pid: int) -> list[str]:
    """The database files that the process and its children have open."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    found = []
    for each in pids:
        for number in os.listdir(f"/proc/{each}/fd"):
            try:
                found.append(os.readlink(f"/proc/{each}/fd/{number}"))
            except FileNotFoundError:
                pass
    return [name for name in found if name.endswith(".sqlite3")]
