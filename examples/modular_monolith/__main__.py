"""``python -m examples.modular_monolith``: an account, an item, a forgotten password, and what follows from each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

from examples.outgoing import sent, text_of
from examples.stage import DemoFailed, Stage, show

ADA = "ada@example.com"


def run(stage: Stage) -> None:
    """The application, and its worker."""
    os.environ["MONOLITH_DATA"] = str(stage.folder)
    web, url = stage.web("web", "examples.modular_monolith.main:app")
    stage.worker("worker", "examples.modular_monolith.core.events")
    with httpx.Client(base_url=url, trust_env=False) as client:
        user = {"email": ADA, "password": "correct horse", "full_name": "Ada"}
        user_id = client.post("/users", json=user).json()["user_id"]
        print("user.created             email:", web.wait_for(lambda: subject(stage.folder, 1), "lead to a mail"))

        item_id = client.post("/items", json={"title": "A red kite", "owner_id": user_id}).json()["item_id"]
        told = web.wait_for(lambda: client.get(f"/users/{user_id}/notifications").json(), "tell the owner")
        print("item.created             notifications:", *told)
        found = web.wait_for(lambda: client.get("/search", params={"q": "kite"}).json(), "index the item")
        print("item.created             search: finds it by 'kite':", found == [item_id])

        client.post("/password-reset", json={"email": ADA})
        print("password.reset.requested email:", web.wait_for(lambda: subject(stage.folder, 2), "lead to a mail"))
        token = token_in(stage.folder)
        answer = client.post("/password-reset/confirm", json={"token": token, "password": "battery staple"})
        print(f"the token of the mail: {answer.status_code}, {answer.json()['answer']}")
    check_logs(stage.folder, token)


def subject(folder: Path, number: int) -> str | None:
    """That of the newest mail, once there are so many."""
    mails = list(sent(folder / "outgoing"))
    return str(mails[-1]["Subject"]) if len(mails) == number else None


def token_in(folder: Path) -> str:
    """The token in the newest mail."""
    return text_of(list(sent(folder / "outgoing"))[-1]).splitlines()[-1]


def check_logs(folder: Path, token: str) -> None:
    """Raise DemoFailed where a log tells the token."""
    logs = sorted(path.name for path in folder.glob("*.log") if token in path.read_text())
    if logs:
        raise DemoFailed(f"the token can be read in {logs}")
    print("the token is in no log")


if __name__ == "__main__":
    sys.exit(show("modular-monolith", run))
