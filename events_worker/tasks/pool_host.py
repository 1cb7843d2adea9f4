"""Runs deliveries in this process's threads pool that come from no broker: those that it has been handed over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import kombu
from celery.worker import state

from events_core.publishing.messages import Delivery, Message

logger = logging.getLogger(__name__)

#: What runs a message as Celery does: with the message, and what acknowledges and what rejects it.
Start = Callable[[Any, Callable[..., None], Callable[..., None]], Any]


class PoolHost:
    """The pool of one Celery consumer. See `events_worker.limits.hand_over.Host`."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self._starts: dict[str, Start] = {}
        self._coming: set[str] = set()  # given to the event loop, which has not come to them yet

    def add(self, handler: str, start: Start) -> None:
        """It runs that handler."""
        self._starts[handler] = start

    @property
    def room(self) -> int:
        """As many as it fetches from the broker in advance, all together: others may have a free slot."""
        most = self.consumer.initial_prefetch_count or self.consumer.pool.limit
        return int(most) - len(state.reserved_requests) - len(self._coming)

    def runs(self, handler: str, queue: str) -> bool:
        """See `Host.runs`."""
        tasks = self.consumer.task_consumer
        return handler in self._starts and tasks is not None and tasks.consuming_from(queue)

    def run(self, message: Message, give_up: Callable[[], None]) -> None:
        """See `Host.run`."""
        delivery = message.delivery
        received = kombu.Message(
            body=message.body,
            content_type="application/json",
            content_encoding="utf-8",
            headers=message.headers,
            properties={"correlation_id": delivery.task_id, "reply_to": ""},
            delivery_info={"exchange": "", "routing_key": delivery.queue, "redelivered": False},
        )
        self._coming.add(delivery.task_id)
        self.consumer.call_soon(self._start, delivery, received, give_up)

    def _start(self, delivery: Delivery, received: Any, give_up: Callable[[], None]) -> None:
        self._coming.discard(delivery.task_id)
        try:
            self._starts[delivery.handler](received, _nothing, _nothing)
        except Exception:  # such as a lost connection, over which events are sent; the consumer opens another one
            logger.exception("%s, which was to run here, is parked again", delivery.task_id)
            give_up()


def _nothing(*_: object, **__: object) -> None:
    """There is no broker that waits for it: what is not settled comes back when its lease ends."""
