"""What happens to a delivery's message before the pool has it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.bootsteps import RUN
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.strategy import default as default_strategy
from pydantic_core import from_json
from uuid_utils import UUID

from events_core.transport.channel import Channel as StreamsChannel
from events_worker.limits.hand_over import HandOver
from events_worker.limits.parking import Arrival
from events_worker.parts import parts_of
from events_worker.tasks.line import line_of, run_of
from events_worker.tasks.pool_host import PoolHost
from events_worker.tasks.telling import WAITS

logger = logging.getLogger(__name__)


def delivery_strategy(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy, before which a message may be settled otherwise.

    One whose earlier copy still runs in this process is acknowledged along with it: a cut connection makes the broker
    deliver again what is still running here. One to a handler whose limit is taken is parked, and takes no slot.
    The callback raises InvalidTaskError for what is no delivery; anything else raised there would end the worker.
    """
    handle = default_strategy(task, app, consumer, **options)
    gatekeeper = parts_of(task.system).gatekeeper
    solo = isinstance(consumer.pool, SoloPool)
    line = line_of(consumer, gatekeeper.early) if solo else None
    # Only where the pool asks for the gates in this process does anybody know here that they are crowded.
    parking = None
    if isinstance(consumer.pool, ThreadPool):
        parking = parts_of(task.system).parking
        gatekeeper.others_wait = _others_wait
        _host(consumer, gatekeeper.hand_over).add(
            task.name, lambda message, ack, reject: start(message, None, ack, reject, consumer.on_task_message)
        )
    connection_errors = (*consumer.connection_errors, *consumer.channel_errors)
    # Celery counts acknowledgements to find its way back to the whole prefetch window.
    at_once = not app.conf.worker_enable_prefetch_count_reduction

    def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        _open(message)
        if solo:
            # The pool runs in the thread that owns the connection. Celery's deferred acknowledgement would wait for
            # the event loop to wake up by itself: 100 ms between two messages at a prefetch of 1.
            ack, reject = message.ack_log_error, message.reject_log_error
        elif at_once and isinstance(message.channel, StreamsChannel):
            ack = message.ack_log_error  # from whatever thread; the event loop would only be in the way
        if (message.delivery_info or {}).get("redelivered"):
            running = state.requests.get(message.headers.get("id"))
            alive = running is not None and running in state.active_requests and running.is_of(message)
            if alive and running.adopt(ack, reject):
                logger.info("%s[%s] still runs here: acknowledged when that has settled", task.name, running.id)
                return None
        elif parking is not None and parking.wants(task.name, message.headers):
            parking.put(_arrival(task, consumer, message, ack, lambda: run(message, body, ack, reject, callbacks)))
            return None
        if line is not None and gatekeeper.is_limited(task.name, message.headers):
            start_it = partial(run, message, body, ack, reject, callbacks, **more)
            line.put(task, message, partial(_guarded, consumer, message, start_it))
            return None
        return run(message, body, ack, reject, callbacks, **more)

    def run(message: Any, *arguments: Any, **more: Any) -> Any:
        try:
            return handle(message, *arguments, **more)
        except (InvalidTaskError, *connection_errors):
            raise
        except Exception as error:  # a header that Celery stumbles over
            raise InvalidTaskError(f"Celery cannot read its headers: {type(error).__name__}") from error

    def start(message: Any, *arguments: Any) -> Any:
        _open(message)
        return run(message, *arguments)

    return on_message


def _host(consumer: Any, hand_over: HandOver) -> PoolHost:
    """That of the consumer, which takes over from now on."""
    host = hand_over.host
    if not isinstance(host, PoolHost) or host.consumer is not consumer:
        host = PoolHost(consumer)
        hand_over.open(host)
    return host


def _others_wait() -> bool:
    """Whether this process has taken more tasks than it runs."""
    return len(state.reserved_requests) > len(state.active_requests)


def _arrival(task: Task, consumer: Any, message: Any, ack: Any, run: Callable[[], Any]) -> Arrival:
    """A message that its handler's limit probably blocks."""

    def parked() -> None:
        ack(logger, consumer.connection_errors)
        _tell_flower(task, consumer.event_dispatcher, message.headers)

    qos = message.channel.qos if isinstance(message.channel, StreamsChannel) else None

    def set_aside() -> bool:
        if qos is not None:  # elsewhere the window is the server's, which would have to be asked
            qos.set_aside(message.delivery_tag)
        return qos is not None

    def go_on() -> None:
        if qos is not None:
            qos.take_back(message.delivery_tag)
        consumer.call_soon(begin)

    def begin() -> None:
        if consumer.blueprint.state == RUN:  # else the worker ends, and gives back what it has not begun
            _guarded(consumer, message, run)

    return Arrival(run_of(task, message), len(message.body), set_aside, parked, go_on)


def _guarded(consumer: Any, message: Any, run: Callable[[], Any]) -> None:
    """Run it as Celery's own handler of messages does."""
    try:
        run()
    except InvalidTaskError as error:
        consumer.on_invalid_task(None, message, error)


def _tell_flower(task: Task, dispatcher: Any, headers: dict[str, Any]) -> None:
    """What Celery tells of a task that comes, and is retried."""
    if dispatcher is None or not dispatcher.enabled or not task.send_events:
        return
    shown = {"args": headers.get("argsrepr"), "kwargs": headers.get("kwargsrepr"), "retries": headers.get("retries")}
    links = {"root_id": headers.get("root_id"), "parent_id": headers.get("parent_id"), "eta": None, "expires": None}
    dispatcher.send("task-received", uuid=headers["id"], name=task.name, **shown, **links)
    dispatcher.send("task-retried", uuid=headers["id"], exception=repr(WAITS), traceback="")


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
