"""Message brokers: what carries integration events to other services and theirs to us."""

from events_core.brokers.base import (
    Format,
    IntegrationMessage,
    MessageBroker,
    Promises,
    Received,
    Receiver,
    Subscription,
)

__all__ = [
    "Format",
    "IntegrationMessage",
    "MessageBroker",
    "Promises",
    "Received",
    "Receiver",
    "Subscription",
]
