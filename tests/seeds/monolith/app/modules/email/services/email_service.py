"""Sends mail: says so."""

from tests.seeds.record import say


class EmailService:
    def send_new_account_email(self, email_to: str, username: str) -> None:
        say("new account", email_to, username)

    def send_password_reset_email(self, email_to: str, username: str, token: str) -> None:
        say("password reset", email_to, username, token)


def get_email_service() -> EmailService:
    return EmailService()
