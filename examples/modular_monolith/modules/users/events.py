"""What happens to users."""

from __future__ import annotations

from uuid import UUID

from examples.modular_monolith.core.events import EventBase


class UserCreatedEvent(EventBase):
    """Somebody has an account."""

    event_type: str = "user.created"  # type: ignore[misc]
    user_id: UUID
    email: str
    full_name: str | None = None
