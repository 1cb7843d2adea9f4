"""Runs deliveries in this process's threads pool that come from no broker: those that it has been handed over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any

import kombu
from celery.worker import state

from events_core.publishing.messages import Message

logger = logging.getLogger(__name__)

#: What runs a message as Celery does: with the message, and what acknowledges and what rejects it.
Start = Callable[[Any, Callable[..., None], Callable[..., None]], Any]


class PoolHost:
    """The pool of one Celery consumer. See `events_worker.limits.hand_over.Host`."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self._starts: dict[str, Start] = {}

    def add(self, handler: str, start: Start) -> None:
        """It runs that handler."""
        self._starts[handler] = start

    @property
    def room(self) -> int:
        """As many as it fetches from the broker in advance, all together: others may have a free slot."""
        most = self.consumer.initial_prefetch_count or self.consumer.pool.limit
        return int(most) - len(state.reserved_requests)

    def runs(self, handler: str, queue: str) -> bool:
        """See `Host.runs`. A rate limit of Celery's own is the event loop's business: its queue knows no threads."""
        tasks = self.consumer.task_consumer
        if handler not in self._starts or tasks is None or not tasks.consuming_from(queue):
            return False
        return self.consumer.task_buckets.get(handler) is None

    def run(self, message: Message) -> bool:
        """See `Host.run`. By the event loop it would begin a third later, and the loop have three times the work."""
        delivery = message.delivery
        received = kombu.Message(
            body=message.body,
            content_type="application/json",
            content_encoding="utf-8",
            headers=message.headers,
            properties={"correlation_id": delivery.task_id, "reply_to": ""},
            delivery_info={"exchange": "", "routing_key": delivery.queue, "redelivered": False},
        )
        try:
            # another run's context is this thread's present one
            Context().run(self._starts[delivery.handler], received, _nothing, _nothing)
        except Exception:  # such as a pool that has just been closed
            logger.exception("%s, which was to run here, is parked again", delivery.task_id)
            return False
        return True


def _nothing(*_: object, **__: object) -> None:
    """There is no broker that waits for it: what is not settled comes back when its lease ends."""
