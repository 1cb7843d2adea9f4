"""celery-events: an application says what happened, and everything that must follow from it happens."""

from events_core.emitter import Emission
from events_core.errors import BindError, BrokerNotConfigured, ConfigurationError, EmitError, EventsError
from events_core.event_map import EventMap
from events_core.events import DomainEvent, ECSTEvent, Event, IntegrationEvent, NotificationEvent
from events_core.groups import Group, GroupCompleted
from events_core.handlers import EventHandler
from events_core.policies import Breaker, GiveUp, Limit, Rate, Retry, RetryLater
from events_core.publishing.messages import Delivery
from events_core.system import EventSystem

__all__ = [
    "BindError",
    "Breaker",
    "BrokerNotConfigured",
    "ConfigurationError",
    "Delivery",
    "DomainEvent",
    "ECSTEvent",
    "Emission",
    "EmitError",
    "Event",
    "EventHandler",
    "EventMap",
    "EventSystem",
    "EventsError",
    "GiveUp",
    "Group",
    "GroupCompleted",
    "IntegrationEvent",
    "Limit",
    "NotificationEvent",
    "Rate",
    "Retry",
    "RetryLater",
]
