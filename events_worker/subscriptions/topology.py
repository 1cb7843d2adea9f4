"""Declaring a queue and its bindings, and unbinding what the application does not ask for any more."""

from __future__ import annotations

import json

from events_core.brokers.base import MessageBroker, Subscription
from events_core.coordination import Coordination
from events_core.subscribers import SubscribedQueue
from events_worker.subscriptions.keys import bindings_key, queues_key


def declare(
    broker: MessageBroker, coordination: Coordination, queue: SubscribedQueue, others: frozenset[tuple[str, str]]
) -> Subscription:
    """Make the queue and its bindings exist, and those go that a worker declared earlier and none asks for any more.

    others: what other workers ask for. What was declared is written down after it is: a worker that dies in between
    repeats it.
    Raises OSError, redis.RedisError where a server does not answer; ConfigurationError where the queue cannot be had.
    """
    subscription = Subscription(queue.name, queue.bindings | others)
    broker.declare(subscription, declared_bindings(coordination, queue.name) - subscription.bindings)
    with coordination.client.pipeline() as pipe:
        pipe.sadd(queues_key(coordination), queue.name)
        pipe.set(bindings_key(coordination, queue.name), json.dumps(sorted(subscription.bindings)))
        pipe.execute()
    return subscription


def declared_bindings(coordination: Coordination, queue: str) -> frozenset[tuple[str, str]]:
    """What a worker has bound the queue by last. Raises redis.RedisError."""
    text = coordination.client.get(bindings_key(coordination, queue))
    if not text:
        return frozenset()
    return frozenset((str(topic), str(routing_key)) for topic, routing_key in json.loads(str(text)))
