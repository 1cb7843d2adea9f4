"""The password reset, from the request to the mail."""

from typing import Annotated, Any

from app.core.events import EventBase, event_handler
from app.modules.email.services.email_service import get_email_service

from events_core.secret import Secret


class PasswordResetRequested(EventBase):
    event_type: str = "password.reset.requested"
    email: str
    token: Annotated[str, Secret]
    username: str


def generate_password_reset_token(email: str) -> str:
    return f"token of {email}"


class AuthService:
    def __init__(self, user_repo: Any) -> None:
        self.user_repo = user_repo

    # --- monolith 9: as it is
    # Auth Service
    def request_password_reset(self, email: str) -> None:
        """Request password reset."""
        user = self.user_repo.get_by_email(email)
        if not user:
            # Don't reveal if user exists
            return

        password_reset_token = generate_password_reset_token(email)

        # Publish event
        event = PasswordResetRequested(
            email=email,
            token=password_reset_token,
            username=user.full_name or email,
        )
        event.publish()


# Email Event Handler
@event_handler("password.reset.requested")
def handle_password_reset_requested_event(event: PasswordResetRequested) -> None:
    """Handle password reset requested event by sending reset email."""
    email_service = get_email_service()
    email_service.send_password_reset_email(
        email_to=event.email, username=event.username or event.email, token=event.token
    )
