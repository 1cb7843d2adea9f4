"""What mail follows from users' events."""

# --- monolith 7: as it is
# app/modules/email/services/email_event_handlers.py
from app.core.events import event_handler
from app.modules.email.services.email_service import get_email_service
from app.modules.users.domain.events import UserCreatedEvent


@event_handler("user.created")
def handle_user_created_event(event: UserCreatedEvent) -> None:
    """Handle user created event by sending welcome email."""
    email_service = get_email_service()
    email_service.send_new_account_email(
        email_to=event.email,
        username=event.full_name or event.email,
    )


# --- between: one that fails, and does not stop the other
@event_handler("user.*", retry=None)
def count_users(event: UserCreatedEvent) -> None:
    raise RuntimeError("no counter")
