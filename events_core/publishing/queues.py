"""How the queues of deliveries are declared, alike by the emitting side and the worker."""

from __future__ import annotations

from celery import Celery
from kombu import Queue

#: RabbitMQ 4 gives quorum queues a delivery limit of 20, which would drop what was merely prefetched beside
#: crashes. Starts are counted by the worker instead.
_NO_DELIVERY_LIMIT = 1_000_000


def queue_declaration(app: Celery, name: str, *, quorum: bool) -> Queue:
    """The queue of that name as the app knows it; else a durable one, added to the app's known queues."""
    queues = app.amqp.queues
    if name in queues:
        return queues[name]
    queue = new_queue(name, quorum=quorum)
    queues.add(queue)
    return queue


def new_queue(name: str, *, quorum: bool) -> Queue:
    """A durable queue of our own."""
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": _NO_DELIVERY_LIMIT} if quorum else None
    return Queue(name, routing_key=name, durable=True, queue_arguments=arguments)
