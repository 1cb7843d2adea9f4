"""The worker's side of a Celery app: tasks, queues and bootsteps of its EventSystems.

An EventSystem adds this module's name to the `include` of its Celery app, so that every worker imports it.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, bootsteps
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    import_modules,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)

from events_core import EventSystem
from events_core.correlation import CorrelationFilter
from events_core.handler_options import GRANTED
from events_core.publishing.queues import queue_declaration
from events_core.system import systems
from events_worker.clock import Clock
from events_worker.intake import Intake
from events_worker.parts import all_parts, parts_of
from events_worker.subscriptions.listener import Listener
from events_worker.subscriptions.starting import check_subscriptions, start_listeners, stop_listeners
from events_worker.tasks import register_tasks


class Timekeeper(bootsteps.StartStopStep):
    """Runs one clock for each system of the worker's app, in the main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._clocks: list[Clock] = []
        for system in systems:
            if system.belongs_to(worker.app):
                system.check_broker()  # here, since what a signal's receiver raises does not stop a worker

    def start(self, worker: Any) -> None:
        """Start the clocks. Raises ConfigurationError, which ends the worker, where no coordination Redis is known."""
        # before anything is consumed: a delivery without its coordination Redis would fail, and be acknowledged
        self._clocks = [Clock(system, parts_of(system)) for system in systems if system.belongs_to(worker.app)]
        for clock in self._clocks:
            clock.start()

    def stop(self, worker: Any) -> None:
        """Stop the clocks; what they have leased is sent by another worker."""
        for clock in self._clocks:
            clock.stop()

    terminate = stop


class Subscribing(bootsteps.StartStopStep):
    """Listens to other services, in the main process: a thread for each queue of the app's systems."""

    requires = (Timekeeper,)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._listeners: list[Listener] = []
        for system in systems:
            if system.belongs_to(worker.app):
                check_subscriptions(system)

    def start(self, worker: Any) -> None:
        """Start listening. Waits for no broker: what else the worker does goes on without it."""
        for system in systems:
            if system.belongs_to(worker.app):
                self._listeners += start_listeners(system)

    def stop(self, worker: Any) -> None:
        """Stop listening; what is not acknowledged goes to another worker."""
        stop_listeners(self._listeners)

    terminate = stop


def install(system: EventSystem) -> None:
    """Make the system's Celery app run its deliveries. Changes none of the app's settings."""
    system.load()
    app: Celery = system.celery
    register_tasks(system, app)
    for name in system.queues():
        _consume(system, name)
        _consume(system, name + GRANTED)
    app.steps["worker"].add(Timekeeper)
    app.steps["worker"].add(Subscribing)
    app.steps["consumer"].add(Intake)


def _consume(system: EventSystem, queue: str) -> None:
    app: Celery = system.celery
    app.amqp.queues.select_add(queue_declaration(app, queue, quorum=system.settings.quorum_queues))


def _consume_granted(sender: Any = None, **_: Any) -> None:
    """Whoever was told which queues to consume consumes what is granted of those too."""
    for system in list(systems):
        if sender is not None and system.belongs_to(sender.app):
            queues = sender.app.amqp.queues
            for name in system.queues():
                if name in queues.consume_from:
                    _consume(system, name + GRANTED)
                else:
                    queues.deselect(name + GRANTED)


def _install_all(sender: Any = None, **_: Any) -> None:
    for system in list(systems):
        if sender is None or system.belongs_to(sender):
            install(system)


def _open_embedded(sender: Any = None, **_: Any) -> None:
    for system in list(systems):
        if sender is not None and system.belongs_to(sender.app):
            system.open_embedded()


def _flush(sender: Any = None, **_: Any) -> None:
    """At the end of each process that may have run deliveries."""
    for parts in all_parts():
        parts.gatekeeper.flush()


def _take_nothing_over(**_: Any) -> None:
    """The worker begins to stop."""
    for parts in all_parts():
        parts.gatekeeper.hand_over.open(None)


def _correlate(logger: Any = None, **_: Any) -> None:
    """The worker's log formats may have ``%(correlation_id)s``."""
    for handler in logger.handlers:
        handler.addFilter(CorrelationFilter())


def announce_process() -> None:
    """Say that a process of the worker begins: Celery's documented place for what each process sets up for itself."""
    worker_process_init.send(sender=None)


import_modules.connect(_install_all, weak=False)
worker_init.connect(_open_embedded, weak=False)
worker_init.connect(_consume_granted, weak=False)
worker_shutting_down.connect(_take_nothing_over, weak=False)
worker_process_shutdown.connect(_flush, weak=False)
worker_shutdown.connect(_flush, weak=False)
after_setup_logger.connect(_correlate, weak=False)
after_setup_task_logger.connect(_correlate, weak=False)
# The signal that led to this import is under way and may not reach us any more.
_install_all()
