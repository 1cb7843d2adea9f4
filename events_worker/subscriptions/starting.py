"""Starting and stopping what listens, and what must be right for it."""

from __future__ import annotations

from collections.abc import Iterator

from events_core import ConfigurationError, EventSystem
from events_core.brokers.base import MessageBroker
from events_core.handler_options import GRANTED
from events_core.subscribers import subscribed_queues
from events_worker.parts import parts_of
from events_worker.subscriptions.listener import Listener


def mistakes(system: EventSystem) -> Iterator[str]:
    """Why the system's subscribers cannot hear anything, if they cannot. Touches no network."""
    queues = subscribed_queues(system.event_map.subscribers)
    if not queues:
        return
    broker = system.message_broker
    names = ", ".join(queue.name for queue in queues)
    if broker is None:
        yield (
            f"the subscribers of {system.name!r} ({names}) need a message broker: give EventSystem(..., "
            "message_broker=...)"
        )
    elif type(broker).receiver is MessageBroker.receiver:
        yield f"the subscribers of {system.name!r} ({names}) hear nothing: {type(broker).__name__} only publishes"
    for queue in queues:
        if queue.name.removesuffix(GRANTED) in system.queues():
            yield (
                f"{queue.name!r} is a queue of deliveries, and of subscribers: give the queue on the message broker "
                "another name with queue="
            )


def check_subscriptions(system: EventSystem) -> None:
    """Raise ConfigurationError where the system's subscribers cannot hear anything."""
    for mistake in mistakes(system):
        raise ConfigurationError(mistake)


def start_listeners(system: EventSystem) -> list[Listener]:
    """Start a thread for each queue that the system's subscribers hear by. Waits for nothing."""
    if system.message_broker is None:
        return []
    listeners = [
        Listener(system, parts_of(system), system.message_broker, queue)
        for queue in subscribed_queues(system.event_map.subscribers)
    ]
    for listener in listeners:
        listener.start()
    return listeners


def stop_listeners(listeners: list[Listener]) -> None:
    """Stop them all; waits for the batches under way."""
    for listener in listeners:
        listener.ask_to_stop()
    for listener in listeners:
        listener.finish()
