"""examples/user_registration under test: its services as processes, and the mails that they send."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from examples.outgoing import sent, text_of
from tests.support.ports import free_port
from tests.support.processes import Process, start_python, start_worker
from tests.support.waiting import wait_until

ADA = "ada@example.com"
KEY = "a key of this test"


@dataclass
class Services:
    """The two services on one broker; the user service's two processes, the mail service's one."""

    broker_url: str
    redis_url: str
    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def env(self) -> dict[str, str | None]:
        return {
            "EVENTS_BROKER_URL": self.broker_url,
            "EVENTS_REDIS_URL": self.redis_url,
            "MESSAGE_BROKER_URL": None,
            "USER_REGISTRATION_DATA": str(self.folder),
            "USERS_URL": f"http://127.0.0.1:{self.port}",
            "USERS_KEY": KEY,
            "MAILER_KEY": f"{KEY} for the mailer",
        }

    def web(self, **env: str) -> Process:
        """Start the web server, at the same address each time."""
        command = ("-m", "uvicorn", "examples.user_registration.users.web:app", "--port", str(self.port))
        process = start_python(*command, env=self.env | env, name="the user service")
        process.wait_for_log(r"running on http://")
        return process

    def users(self) -> Process:
        """Start the user service's worker."""
        return start_worker("examples.user_registration.users.system", env=self.env)

    def mailer(self) -> Process:
        """Start the mail service."""
        return start_worker("examples.user_registration.mailer.service", env=self.env)

    def post(self, path: str, **body: str) -> httpx.Response:
        """Send JSON to the user service."""
        return httpx.post(f"http://127.0.0.1:{self.port}{path}", json=body, timeout=30, trust_env=False)

    def mails(self, number: int = 1) -> list[EmailMessage]:
        """The outgoing mails, as soon as there are so many."""
        return wait_until(
            lambda: found if len(found := list(sent(self.folder / "outgoing"))) >= number else [], 60, f"{number} mails"
        )


def link_in(mail: EmailMessage) -> str:
    """The link that the mail asks to open."""
    return next(line for line in text_of(mail).splitlines() if line.startswith("http"))


def token_in(mail: EmailMessage) -> str:
    """The token in that link."""
    return urlsplit(link_in(mail)).fragment
