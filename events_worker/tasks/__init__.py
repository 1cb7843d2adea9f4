"""One Celery task per handler, named after it."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Celery, Task
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject

from events_core import EventSystem
from events_core.handlers import HandlerSpec
from events_worker.outcome import Done
from events_worker.parts import Parts, parts_of
from events_worker.run import Run
from events_worker.tasks.telling import DeadLettered, RunAgain, told_of

logger = logging.getLogger(__name__)

#: Seconds after a handler's own timeout at which a prefork child is killed that is stuck in C code or in its loop.
#: More than a suspect's process of its own is given: killed before that, the child that waits for it proves nothing.
HARD_LIMIT_GRACE = 30.0
#: Seconds, so that a message which goes back does not come round in a hot loop.
_PAUSE_BEFORE_REQUEUE = 1.0


class DeliveryTask(Task):
    """Runs deliveries to one handler. Every setting that our promises need is fixed here, whatever the app's are."""

    abstract = True
    Request = "events_worker.tasks.requests:DeliveryRequest"
    Strategy = "events_worker.tasks.strategy:delivery_strategy"
    acks_late = True
    acks_on_failure = True
    acks_on_timeout = False  # a killed child settled nothing: its message comes back
    reject_on_worker_lost = True
    ignore_result = True
    store_errors_even_if_ignored = False
    track_started = False
    serializer = "json"
    typing = False
    max_retries = None
    throws = (DeadLettered,)

    system: EventSystem
    _parts: Parts | None = None

    def run(self, *args: Any, **_: Any) -> None:
        """Execute one delivery; its outcome as Celery's states SUCCESS, RETRY and FAILURE."""
        request = self.request
        headers = request.headers  # all of the message's, as DeliveryRequest leaves them
        parts = self._parts
        if parts is None:
            parts = self._parts = parts_of(self.system)
        run = parts.gatekeeper.known(request.id, headers)
        if run is None:
            information = request.delivery_info or {}
            run = Run.of(
                request.id,
                self.name,
                information.get("routing_key") or self.system.settings.default_queue,
                headers,
                args[0] if args else None,
                redelivered=bool(information.get("redelivered")),
            )
        try:
            outcome = parts.execution.execute(run)
        except Exception as error:
            # A fault of ours, not of the handler. The message goes back; should it do this again, it is a suspect, and
            # in a process of its own it becomes a dead letter.
            logger.exception("%s [%s] could not be executed and goes back to its queue", self.name, request.id)
            parts.gatekeeper.hand_over.give_up(request.id)
            time.sleep(_PAUSE_BEFORE_REQUEUE)
            raise Reject(RunAgain(type(error).__name__), requeue=True) from None
        if not isinstance(outcome, Done) and (told := told_of(outcome)) is not None:
            raise told


def register_tasks(system: EventSystem, app: Celery) -> list[Task]:
    """Register a task for each handler name of the system, aliases included."""
    return [
        _register(system, app, name, spec)
        for name, spec in system.event_map.names.items()
        if spec.kind != "task" and name not in app.tasks
    ]


def _register(system: EventSystem, app: Celery, name: str, spec: HandlerSpec) -> Task:
    limit = None if spec.timeout is None else spec.timeout + HARD_LIMIT_GRACE
    attributes = {
        "name": name,
        "system": system,
        "queue": system.messages.queue_of(spec),
        "time_limit": limit,
        "soft_time_limit": None,
        # no results: and the app's backend is not looked up twice for each delivery
        "backend": DisabledBackend(app=app),
        "__module__": __name__,
        "__doc__": spec.target.__doc__,
    }
    return app.register_task(type("HandlerTask", (DeliveryTask,), attributes)())
