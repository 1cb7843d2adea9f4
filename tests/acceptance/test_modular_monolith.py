"""examples/modular_monolith: the flows of its guide, on a real Redis with a worker process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from examples.outgoing import sent, text_of
from tests.support.dashboard import start_dashboard, wait_for_states
from tests.support.ports import free_port
from tests.support.processes import Process, start_python, start_worker
from tests.support.shop import Shop
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

APP = "examples.modular_monolith.core.events"
ADA = {"email": "ada@example.com", "password": "correct horse", "full_name": "Ada"}


@dataclass
class Monolith:
    """The application's server, and its worker."""

    env: dict[str, str]
    folder: Path
    client: httpx.Client
    web: Process

    def worker(self, *options: str) -> Process:
        return start_worker(APP, env=self.env, extra=options)

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in sent(self.folder / "outgoing")]

    def user(self) -> str:
        return str(self.client.post("/users", json=ADA).raise_for_status().json()["user_id"])


@pytest.fixture
def monolith(redis_url: str, tmp_path: Path) -> Monolith:
    env = {"EVENTS_BROKER_URL": redis_url, "MONOLITH_DATA": str(tmp_path)}
    port = free_port()
    web = start_python("-m", "uvicorn", "examples.modular_monolith.main:app", "--port", str(port), env=env)
    web.wait_for_log("running on http://")
    return Monolith(env, tmp_path, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False), web)


def test_an_item_is_told_of_and_found(monolith: Monolith) -> None:
    user_id = monolith.user()
    item = {"title": "A red kite", "owner_id": user_id}
    item_id = monolith.client.post("/items", json=item).json()["item_id"]
    assert monolith.client.get("/search", params={"q": "kite"}).json() == [], "nothing ran in the request"
    monolith.worker()

    def found() -> bool:
        told = monolith.client.get(f"/users/{user_id}/notifications").json()
        return bool(told) and monolith.client.get("/search", params={"q": "KITE"}).json() == [item_id]

    wait_until(found, what="both modules to know the item")
    wait_until(lambda: monolith.subjects() == ["Welcome"], what="the mail to the new user")


def test_a_forgotten_password(monolith: Monolith) -> None:
    """The token is in the mail, works once, and can be read nowhere else."""
    worker = monolith.worker()
    monolith.user()
    for email in ("nobody@example.com", ADA["email"]):
        answer = monolith.client.post("/password-reset", json={"email": email})
        assert answer.json() == {"answer": "if you have an account, a mail is on its way"}
    wait_until(lambda: sorted(monolith.subjects()) == ["Welcome", "Your new password"], what="one mail")
    (mail,) = (mail for mail in sent(monolith.folder / "outgoing") if mail["Subject"] != "Welcome")
    token = text_of(mail).splitlines()[-1]
    new = {"token": token, "password": "battery staple"}
    assert [monolith.client.post("/password-reset/confirm", json=new).status_code for _ in range(2)] == [200, 400]
    assert token not in monolith.web.log + worker.log
    assert token.encode() not in (monolith.folder / "monolith.sqlite3").read_bytes()
    with redis.Redis.from_url(monolith.env["EVENTS_BROKER_URL"]) as client:
        wait_until(lambda: token not in everything(client), what="the broker to have forgotten it")


def everything(client: redis.Redis) -> str:
    """All that lies in a Redis."""
    readers: dict[bytes, Callable[[Any], object]] = {
        b"stream": client.xrange,
        b"hash": client.hgetall,
        b"string": client.get,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"list": lambda key: client.lrange(key, 0, -1),
    }
    return repr([readers[client.type(key)](key) for key in client.scan_iter("*")])


def test_a_token_that_could_not_be_mailed_is_hidden_in_the_dead_letter(monolith: Monolith) -> None:
    (monolith.folder / "outgoing").touch()  # no folder
    worker = monolith.worker()
    monolith.user()
    monolith.client.post("/password-reset", json={"email": ADA["email"]})

    def events(*command: str) -> str:
        ran = start_python("-m", "events_worker.cli", "dead", *command, "-A", APP, env=monolith.env)
        assert ran.wait() == 0, ran.log
        return ran.log

    def dead() -> list[dict[str, str]]:
        letters: list[dict[str, str]] = json.loads(events("list", "--json"))
        return [letter for letter in letters if "reset" in letter["handler"]]

    (letter,) = wait_until(dead, 60, "the dead letter")
    shown = events("show", letter["id"], "--payload")
    (monolith.folder / "outgoing").unlink()
    assert "redriven" in events("redrive", letter["id"])
    (mail,) = wait_until(lambda: list(sent(monolith.folder / "outgoing")), what="the mail, at last")
    token = text_of(mail).splitlines()[-1]
    assert ADA["email"] in shown
    assert "***" in shown
    assert token not in shown + worker.log + monolith.web.log
    assert monolith.client.post(
        "/password-reset/confirm", json={"token": token, "password": "battery staple"}
    ).is_success


def test_flower_does_not_show_it(monolith: Monolith) -> None:
    pytest.importorskip("flower")
    dashboard = start_dashboard(Shop(monolith.folder, monolith.env | {"EVENTS_APP": APP}))
    monolith.worker("-E")
    monolith.user()
    monolith.client.post("/password-reset", json={"email": ADA["email"]})
    handlers = "examples.modular_monolith.modules.email.event_handlers"
    reset, created = (f"{handlers}.handle_{name}_event" for name in ("password_reset_requested", "user_created"))
    task = wait_for_states(dashboard, {reset: "SUCCESS", created: "SUCCESS"})[reset]
    token = next(text_of(mail) for mail in sent(monolith.folder / "outgoing") if "token" in text_of(mail)).split()[-1]
    for path in ("/tasks", f"/task/{task['uuid']}", "/api/tasks"):
        page = dashboard.page(path)
        assert token not in page
        assert ADA["email"] not in page


#: As the guide has it: a test of a handler, with a service in place of the real one; and of what is published.
GUIDE = """
import uuid
from unittest.mock import MagicMock

from examples.modular_monolith.modules.email import event_handlers
from examples.modular_monolith.modules.items.events import ItemCreated
from examples.modular_monolith.modules.users.events import UserCreatedEvent

service = MagicMock()
event_handlers.get_email_service = lambda: service
event = UserCreatedEvent(user_id=uuid.uuid4(), email="test@example.com")
event_handlers.handle_user_created_event(event)
service.send_new_account_email.assert_called_once_with(
    key=str(event.event_id), email_to="test@example.com", username="test@example.com"
)
from examples.modular_monolith.core.events import events

events.load()
for kind in (UserCreatedEvent, ItemCreated):
    print(kind.event_type, *sorted(spec.name.rpartition("modules.")[2] for spec in events.event_map.route(kind)))
"""


def test_handlers_are_registered_by_importing_their_modules(tmp_path: Path) -> None:
    """And are functions that a test calls, as ever."""
    (tmp_path / "guide.py").write_text(GUIDE)
    ran = start_python("guide.py", cwd=tmp_path, env={"EVENTS_BROKER_URL": "redis://localhost:1/0"})
    assert ran.wait() == 0, ran.log
    assert ran.log.splitlines() == [
        "user.created email.event_handlers.handle_user_created_event",
        "item.created notifications.event_handlers.handle_item_created_event "
        "search.event_handlers.handle_item_created_event",
    ]
