"""Domain events as guides and home-made packages write them: their type in the class body, `to_dict`, entities."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic_core import from_json

from events_core.compat.naming import name_by_body
from events_core.envelope import Envelope
from events_core.events import DomainEvent as CoreDomainEvent


class DomainEvent(CoreDomainEvent):
    """A domain event of which the class body may tell the type.

    ``event_type: ClassVar[str] = "user.created"``, ``event_type: str = "user.created"`` and, where there is no
    `event_type`, ``type: str = "user.created"`` all do. A field may hold any object, such as the entity that the event
    is about: such an event is for a `DomainEventDispatcher` or for handlers with ``in_transaction=True``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def __init_subclass__(cls, **keywords: Any) -> None:
        names = {"event_type": "event_type"}
        if "event_type" not in keywords and "event_type" not in cls.__dict__:
            names["type"] = "event_type"
        name_by_body(cls, names)
        super().__init_subclass__(**keywords)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        super().__pydantic_init_subclass__(**keywords)
        if "type" in cls.__class_vars__:  # one that it inherits is its parent's
            cls.type = cls.event_type  # type: ignore[attr-defined]

    def to_dict(self) -> dict[str, Any]:
        """``{"event_id", "event_type", "occurred_at", "payload": {...}}``, values as in JSON, secrets readable."""
        return {
            "event_id": str(self.event_id),
            "event_type": self.event_type,
            "occurred_at": self.occurred_at.isoformat(),
            "payload": self._payload(),
        }

    def _payload(self) -> dict[str, Any]:
        """The event's own fields. Override it for another form."""
        fields: dict[str, Any] = from_json(Envelope.of(self).data)
        return fields
