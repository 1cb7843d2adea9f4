"""What happens to passwords."""

from __future__ import annotations

from typing import Annotated

from events_core.secret import Secret
from examples.modular_monolith.core.events import EventBase


class PasswordResetRequested(EventBase):
    """Somebody has forgotten their password.

    The handler reads `event.token`. Wherever people read, in logs, lists and dead letters, stands ``***``.
    """

    event_type: str = "password.reset.requested"  # type: ignore[misc]
    email: str
    token: Annotated[str, Secret]
    username: str | None = None
