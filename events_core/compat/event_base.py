"""Events that publish themselves."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from events_core.compat.ambient import publish_event
from events_core.compat.domain_event import DomainEvent

if TYPE_CHECKING:
    from events_core.system import EventSystem


class EventBase(DomainEvent):
    """A domain event with ``event_type: str = "user.created"`` in its class body, and `publish`."""

    @property
    def created_at(self) -> datetime:
        """When it happened: `occurred_at`, which is aware and in UTC."""
        return self.occurred_at

    def publish(self, system: EventSystem | None = None) -> None:
        """Emit it; return when the broker has confirmed its deliveries. In async code: ``await events.aemit(event)``.

        system: default is the only one of the process.
        Raises ConfigurationError where there is none, or several; and as `EventSystem.emit`.
        """
        publish_event(self, system)
