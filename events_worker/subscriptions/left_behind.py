"""Queues that a worker has declared once, and that no subscriber names any more."""

from __future__ import annotations

from events_core import ConfigurationError, EventSystem
from events_core.brokers.base import Subscription
from events_core.coordination import Coordination
from events_worker.subscriptions.keys import bindings_key, consumers_key, counts_key, neighbours_key, queues_key
from events_worker.subscriptions.tally import consumers_of
from events_worker.subscriptions.topology import declared_bindings


def left_behind(system: EventSystem, coordination: Coordination) -> list[str]:
    """Their names."""
    known: set[str] = coordination.client.smembers(queues_key(coordination))  # type: ignore[assignment]
    return sorted(known - {subscriber.queue for subscriber in system.event_map.subscribers})


def delete_queue(system: EventSystem, coordination: Coordination, queue: str) -> None:
    """Delete one on the message broker, with what waits in it, and forget it.

    Raises ConfigurationError for one that is still asked for or listened to, and where there is no message broker;
    OSError where that does not answer.
    """
    if queue not in left_behind(system, coordination):
        raise ConfigurationError(
            f"{queue!r} is no queue that was left behind: a subscriber names it, or nobody ever did"
        )
    listening = consumers_of(coordination, queue)
    if listening:
        raise ConfigurationError(f"{queue!r} is still listened to by {', '.join(listening)}: stop these workers first")
    if system.message_broker is None:
        raise ConfigurationError(f"{system.name!r} has no message broker, on which {queue!r} could be deleted")
    system.message_broker.delete(Subscription(queue, declared_bindings(coordination, queue)))
    with coordination.client.pipeline() as pipe:
        pipe.delete(*(name(coordination, queue) for name in (bindings_key, counts_key, consumers_key, neighbours_key)))
        pipe.srem(queues_key(coordination), queue)
        pipe.execute()
