"""Events of the users' module."""

import uuid
from typing import Optional

# --- monolith 5: as it is
# app/modules/users/domain/events.py
from app.core.events import EventBase


class UserCreatedEvent(EventBase):
    """Event emitted when a new user is created."""

    event_type: str = "user.created"
    user_id: uuid.UUID
    email: str
    full_name: Optional[str] = None  # noqa: UP045  (as the page has it)

    def publish(self) -> None:
        """Publish this event to all registered handlers."""
        from app.core.events import publish_event

        publish_event(self)
