"""The mails that the application sends."""

from __future__ import annotations

from examples import outgoing
from examples.modular_monolith.core.data import folder


class EmailService:
    """Writes mails. key: one key is one mail, however often it is sent."""

    def send_new_account_email(self, key: str, email_to: str, username: str) -> None:
        """Greet somebody."""
        self._send(key, email_to, "Welcome", f"Dear {username},\n\nwelcome.\n")

    def send_password_reset_email(self, key: str, email_to: str, username: str, token: str) -> None:
        """Tell somebody the token for their new password."""
        self._send(key, email_to, "Your new password", f"Dear {username},\n\nyour token is\n{token}\n")

    def _send(self, key: str, email_to: str, subject: str, text: str) -> None:
        outgoing.send(folder() / "outgoing", key, email_to, subject, text)


def get_email_service() -> EmailService:
    """The service that handlers use; tests put another one in its place."""
    return EmailService()
