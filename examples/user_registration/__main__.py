"""``python -m examples.user_registration``: somebody registers, gets a mail, and opens the link in it."""

from __future__ import annotations

import os
import secrets
import sys
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx

from examples.outgoing import sent, text_of
from examples.stage import DemoFailed, Stage, free_port, show

SERVICES = {
    "users": "examples.user_registration.users.system",
    "mailer": "examples.user_registration.mailer.service",
}
ADA = "ada@example.com"


def run(stage: Stage) -> None:
    """The user service, its worker, and the mail service."""
    port = free_port()
    os.environ |= {
        "USER_REGISTRATION_DATA": str(stage.folder),
        "USERS_URL": f"http://127.0.0.1:{port}",
        "USERS_KEY": secrets.token_hex(32),
        "MAILER_KEY": secrets.token_hex(32),
    }
    web, url = stage.web("web", "examples.user_registration.users.web:app", port)
    for name, app in SERVICES.items():
        stage.worker(name, app)
    print("the user service and the mail service run")
    with httpx.Client(base_url=url, trust_env=False) as client:
        print(f"{ADA} registers: {client.post('/users', json={'email': ADA}).json()['answer']}")
        mail = web.wait_for(lambda: next(sent(stage.folder / "outgoing"), None), "lead to a mail")
        print(f"a mail to {mail['To']}: {mail['Subject']}")
        wrong = client.post("/verify", json={"token": "made.up.token"})
        print(f"a token that is made up: {wrong.status_code}")
        right = client.post("/verify", json={"token": token_in(mail)})
        print(f"the token of the mail: {right.status_code}, {right.json()}")
    if right.json() != {"verified": ADA}:
        raise DemoFailed("the link of the mail does not verify the address")


def token_in(mail: EmailMessage) -> str:
    """What stands after the # of the link, as the page has it that the link opens."""
    link = next(line for line in text_of(mail).splitlines() if line.startswith("http"))
    return urlsplit(link).fragment


if __name__ == "__main__":
    sys.exit(show("user-registration", run))
