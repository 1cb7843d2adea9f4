"""For those who come from another system: its names, over ours. docs/coming-from.md tells what to change.

The dishka provider is in `events_core.compat.dishka`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events_core.bus import (
        Consumer,
        EventHandlerConsumer,
        IntegrationEventBus,
        IntegrationEventBusRegistration,
        Topic,
    )
    from events_core.compat.ambient import event_handler, publish_event
    from events_core.compat.domain_dispatcher import DomainEventDispatcher
    from events_core.compat.domain_event import DomainEvent
    from events_core.compat.domain_factory import DomainEventHandlerFactory
    from events_core.compat.domain_handlers import DomainEventHandler, DomainEventHandlerRegistry
    from events_core.compat.emitter import EventEmitter
    from events_core.compat.event_base import EventBase
    from events_core.compat.event_dispatcher import EventDispatcher
    from events_core.compat.integration_event import IntegrationEvent
    from events_core.compat.message_brokers import RedisMessageBroker
    from events_core.compat.publishers import EventPublisher, InMemoryEventPublisher, SystemEventPublisher
    from events_core.compat.redis_publisher import RedisEventPublisher
    from events_core.entities import AggregateRoot, Entity

__all__ = [
    # diator, python-cqrs
    "EventEmitter",
    "RedisMessageBroker",
    # ACherryJam/events
    "AggregateRoot",
    "Consumer",
    "DomainEventDispatcher",
    "DomainEventHandler",
    "DomainEventHandlerFactory",
    "DomainEventHandlerRegistry",
    "EventHandlerConsumer",
    "IntegrationEvent",
    "IntegrationEventBus",
    "IntegrationEventBusRegistration",
    "Topic",
    # home-made dispatchers
    "DomainEvent",
    "Entity",
    "EventBase",
    "EventDispatcher",
    "EventPublisher",
    "InMemoryEventPublisher",
    "RedisEventPublisher",
    "SystemEventPublisher",
    "event_handler",
    "publish_event",
]

# Imported when asked for: one system's names do not bring along what only another's need.
_MODULES = {
    "AggregateRoot": "events_core.entities",
    "DomainEvent": "events_core.compat.domain_event",
    "DomainEventDispatcher": "events_core.compat.domain_dispatcher",
    "DomainEventHandler": "events_core.compat.domain_handlers",
    "DomainEventHandlerFactory": "events_core.compat.domain_factory",
    "DomainEventHandlerRegistry": "events_core.compat.domain_handlers",
    "Entity": "events_core.entities",
    "EventBase": "events_core.compat.event_base",
    "EventDispatcher": "events_core.compat.event_dispatcher",
    "EventEmitter": "events_core.compat.emitter",
    "EventPublisher": "events_core.compat.publishers",
    "InMemoryEventPublisher": "events_core.compat.publishers",
    "IntegrationEvent": "events_core.compat.integration_event",
    "RedisEventPublisher": "events_core.compat.redis_publisher",
    "RedisMessageBroker": "events_core.compat.message_brokers",
    "SystemEventPublisher": "events_core.compat.publishers",
    "Consumer": "events_core.bus",
    "EventHandlerConsumer": "events_core.bus",
    "IntegrationEventBus": "events_core.bus",
    "IntegrationEventBusRegistration": "events_core.bus",
    "Topic": "events_core.bus",
    "event_handler": "events_core.compat.ambient",
    "publish_event": "events_core.compat.ambient",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
