"""What happens to a delivery's message before the pool has it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.strategy import default as default_strategy

from events_core.transport.channel import Channel as StreamsChannel
from events_worker.limits.hand_over import HandOver
from events_worker.limits.parking import is_new
from events_worker.parts import parts_of
from events_worker.tasks.arriving import arrival_of, guarded, sifter_of
from events_worker.tasks.line import line_of
from events_worker.tasks.opening import open_message
from events_worker.tasks.pool_host import PoolHost

logger = logging.getLogger(__name__)


def delivery_strategy(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy, before which a message may be settled otherwise.

    One whose earlier copy still runs in this process is acknowledged along with it: a cut connection makes the broker
    deliver again what is still running here. One to a handler whose limit is taken is parked, and takes no slot; on
    Redis Streams it does not even come here.
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
        if (sifter := sifter_of(consumer)) is not None:
            sifter.add(task, parking)
            parking = None  # what comes here is to run
        gatekeeper.others_wait = _others_wait
        _host(consumer, gatekeeper.hand_over).add(
            task.name, lambda message, ack, reject: start(message, None, ack, reject, consumer.on_task_message)
        )
    connection_errors = (*consumer.connection_errors, *consumer.channel_errors)
    # Celery counts acknowledgements to find its way back to the whole prefetch window.
    at_once = not app.conf.worker_enable_prefetch_count_reduction

    def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        open_message(message)
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
        elif parking is not None and parking.wants(task.name) and is_new(message.headers):
            parking.put(arrival_of(task, consumer, message, ack, lambda: run(message, body, ack, reject, callbacks)))
            return None
        if line is not None and gatekeeper.is_limited(task.name, message.headers):
            start_it = partial(run, message, body, ack, reject, callbacks, **more)
            line.put(task, message, partial(guarded, consumer, message, start_it))
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
        open_message(message)
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
