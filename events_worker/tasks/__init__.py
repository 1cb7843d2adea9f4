"""One Celery task per handler, named after it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.backends.base import DisabledBackend
from celery.concurrency.solo import TaskPool as SoloPool
from celery.exceptions import InvalidTaskError, Reject
from celery.worker import state
from celery.worker.strategy import default as default_strategy
from pydantic_core import from_json
from uuid_utils import UUID

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
    Strategy = "events_worker.tasks:delivery_strategy"
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
        information = request.delivery_info or {}
        run = Run.of(
            request.id,
            self.name,
            information.get("routing_key") or self.system.settings.default_queue,
            request.headers,  # all of the message's, as DeliveryRequest leaves them
            args[0] if args else None,
            redelivered=bool(information.get("redelivered")),
        )
        parts = self._parts
        if parts is None:
            parts = self._parts = parts_of(self.system)
        try:
            outcome = parts.execution.execute(run)
        except Exception as error:
            # A fault of ours, not of the handler. The message goes back; should it do this again, it is a suspect, and
            # in a process of its own it becomes a dead letter.
            logger.exception("%s [%s] could not be executed and goes back to its queue", self.name, request.id)
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


def delivery_strategy(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy; a message whose earlier copy still runs in this process is acknowledged along with it.

    A cut connection makes the broker deliver again what is still running here.
    The callback raises InvalidTaskError for what is no delivery; anything else raised there would end the worker.
    """
    handle = default_strategy(task, app, consumer, **options)
    solo = isinstance(consumer.pool, SoloPool)
    connection_errors = (*consumer.connection_errors, *consumer.channel_errors)

    def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        _open(message)
        if solo:
            # The pool runs in the thread that owns the connection. Celery's deferred acknowledgement would wait for
            # the event loop to wake up by itself: 100 ms between two messages at a prefetch of 1.
            ack, reject = message.ack_log_error, message.reject_log_error
        if (message.delivery_info or {}).get("redelivered"):
            running = state.requests.get(message.headers.get("id"))
            alive = running is not None and running in state.active_requests and running.is_of(message)
            if alive and running.adopt(ack, reject):
                logger.info("%s[%s] still runs here: acknowledged when that has settled", task.name, running.id)
                return None
        try:
            return handle(message, body, ack, reject, callbacks, **more)
        except (InvalidTaskError, *connection_errors):
            raise
        except Exception as error:  # a header that Celery stumbles over
            raise InvalidTaskError(f"Celery cannot read its headers: {type(error).__name__}") from error

    return on_message


def _open(message: Any) -> None:
    """Decode the body, once and for all, as plain JSON; raise InvalidTaskError for what is no delivery.

    kombu's JSON turns objects with `__type__` into datetimes and the like, which in a payload are the payload's own.
    """
    if message.content_type != "application/json":
        raise InvalidTaskError(f"the content type is {message.content_type}, not application/json")
    try:
        body = _loads(message.body)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidTaskError(f"the body is no JSON: {type(error).__name__}") from None
    if not (isinstance(body, list) and len(body) == 3 and isinstance(body[0], list) and body[1] == {}):
        raise InvalidTaskError("the body is not [[envelope], {}, embed]")
    if not isinstance(body[2], dict | None):
        raise InvalidTaskError("the embed in the body is no object")
    headers = message.headers
    try:
        UUID(headers.get("id"))
    except (ValueError, TypeError, AttributeError):
        raise InvalidTaskError("the header id is missing, or is no UUID") from None
    for name in ("timelimit", "stamps", "stamped_headers"):
        headers.pop(name, None)  # none of ours; the task sets its limits itself
    message._decoded_cache = body


def _loads(text: Any) -> Any:
    try:
        return from_json(text)  # six times faster than json
    except ValueError:  # and stricter, of surrogates for example
        return json.loads(text)
