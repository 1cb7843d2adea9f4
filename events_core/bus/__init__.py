"""The integration event bus: events of other services, handled on the event loop of an asyncio application."""

from events_core.bus.base import IntegrationEventBus
from events_core.bus.consumers import Consumer, EventHandlerConsumer
from events_core.bus.event_bus import EventBus
from events_core.bus.statistics import Statistics
from events_core.bus.topology import IntegrationEventBusRegistration, Topic

__all__ = [
    "Consumer",
    "EventBus",
    "EventHandlerConsumer",
    "IntegrationEventBus",
    "IntegrationEventBusRegistration",
    "Statistics",
    "Topic",
]
