"""celery-events: an application says what happened, and everything that must follow from it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events_core.emitter import Emission
    from events_core.errors import BindError, BrokerNotConfigured, ConfigurationError, EmitError, EventsError
    from events_core.event_map import EventMap
    from events_core.events import DomainEvent, ECSTEvent, Event, IntegrationEvent, NotificationEvent
    from events_core.groups import Group, GroupCompleted
    from events_core.handlers import EventHandler
    from events_core.policies import Breaker, GiveUp, Limit, Rate, Retry, RetryLater
    from events_core.publishing.messages import Delivery
    from events_core.secret import Secret
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
    "Secret",
]

#: Where each is. Looked up when asked for: pytest loads our plugin, and so this, in every project that has the package
#: installed.
_HOMES = {
    "BindError": "events_core.errors",
    "Breaker": "events_core.policies",
    "BrokerNotConfigured": "events_core.errors",
    "ConfigurationError": "events_core.errors",
    "Delivery": "events_core.publishing.messages",
    "DomainEvent": "events_core.events",
    "ECSTEvent": "events_core.events",
    "Emission": "events_core.emitter",
    "EmitError": "events_core.errors",
    "Event": "events_core.events",
    "EventHandler": "events_core.handlers",
    "EventMap": "events_core.event_map",
    "EventSystem": "events_core.system",
    "EventsError": "events_core.errors",
    "GiveUp": "events_core.policies",
    "Group": "events_core.groups",
    "GroupCompleted": "events_core.groups",
    "IntegrationEvent": "events_core.events",
    "Limit": "events_core.policies",
    "NotificationEvent": "events_core.events",
    "Rate": "events_core.policies",
    "Retry": "events_core.policies",
    "RetryLater": "events_core.policies",
    "Secret": "events_core.secret",
}
#: Parts of a system that have modules of their own, for those who look for them here.
_PARTS = {
    "AggregateRoot": "events_core.entities",
    "Entity": "events_core.entities",
    "EventEmitter": "events_core.compat",
    "EventProcessor": "events_core.processor",
    "Mediator": "events_core.mediator",
    "Request": "events_core.mediator",
    "RequestHandler": "events_core.mediator",
    "RequestHandlerDoesNotExist": "events_core.errors",
    "RequestMap": "events_core.mediator",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or _PARTS.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    if name in _HOMES:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
