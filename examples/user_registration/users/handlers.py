"""What follows from the user service's own events."""

from __future__ import annotations

from examples.user_registration.users.events import UserRegistered, VerificationRequested
from examples.user_registration.users.system import events


@events.handler(UserRegistered)
def ask_for_verification(event: UserRegistered) -> VerificationRequested:
    """Tell the other services. It leaves when this has succeeded, and has the same id if this must run again."""
    return VerificationRequested(user_id=event.user_id)
