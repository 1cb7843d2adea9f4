"""The worker's side of a Celery app: tasks, queues and bootsteps of its EventSystems.

An EventSystem adds this module's name to the `include` of its Celery app, so that every worker imports it.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import import_modules, worker_init

from events_core import EventSystem
from events_core.publishing.queues import queue_declaration
from events_core.system import systems
from events_worker.intake import Intake
from events_worker.tasks import register_tasks
from events_worker.timekeeper import Timekeeper


def install(system: EventSystem) -> None:
    """Make the system's Celery app run its deliveries. Changes none of the app's settings."""
    system.load()
    app: Celery = system.celery
    register_tasks(system, app)
    for name in system.queues():
        app.amqp.queues.select_add(queue_declaration(app, name, quorum=system.settings.quorum_queues))
    app.steps["worker"].add(Timekeeper)
    app.steps["consumer"].add(Intake)


@import_modules.connect(weak=False)
def _install_all(sender: Any = None, **_: Any) -> None:
    for system in list(systems):
        if sender is None or system.belongs_to(sender):
            install(system)


@worker_init.connect(weak=False)
def _open_embedded(sender: Any = None, **_: Any) -> None:
    for system in list(systems):
        if sender is not None and system.belongs_to(sender.app):
            system.open_embedded()


# The signal that led to this import is under way and may not reach us any more.
_install_all()
