"""Message brokers: what carries integration events to other services and theirs to us."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from events_core.brokers.base import (
    Format,
    IntegrationMessage,
    MessageBroker,
    Promises,
    Received,
    Receiver,
    Subscription,
)

if TYPE_CHECKING:
    from events_core.brokers.exchange import ExchangeBroker
    from events_core.brokers.memory import InMemoryBroker
    from events_core.brokers.redis_pubsub import RedisPubSubBroker
    from events_core.brokers.redis_stream import RedisStreamBroker

__all__ = [
    "ExchangeBroker",
    "InMemoryBroker",
    "RedisPubSubBroker",
    "RedisStreamBroker",
    "Format",
    "IntegrationMessage",
    "MessageBroker",
    "Promises",
    "Received",
    "Receiver",
    "Subscription",
]

# Imported when asked for: each brings the library of its server along.
_MODULES = {
    "ExchangeBroker": "exchange",
    "InMemoryBroker": "memory",
    "RedisPubSubBroker": "redis_pubsub",
    "RedisStreamBroker": "redis_stream",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
