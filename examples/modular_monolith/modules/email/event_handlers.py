"""What the email module does when something has happened elsewhere."""

from __future__ import annotations

from examples.modular_monolith.core.events import event_handler
from examples.modular_monolith.modules.auth.events import PasswordResetRequested
from examples.modular_monolith.modules.email.service import get_email_service
from examples.modular_monolith.modules.users.events import UserCreatedEvent


@event_handler("user.created")
def handle_user_created_event(event: UserCreatedEvent) -> None:
    """Handle user created event by sending welcome email."""
    get_email_service().send_new_account_email(
        key=str(event.event_id), email_to=event.email, username=event.full_name or event.email
    )


@event_handler("password.reset.requested")
def handle_password_reset_requested_event(event: PasswordResetRequested) -> None:
    """Handle password reset requested event by sending reset email."""
    get_email_service().send_password_reset_email(
        key=str(event.event_id), email_to=event.email, username=event.username or event.email, token=event.token
    )
