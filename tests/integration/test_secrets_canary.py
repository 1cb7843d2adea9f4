"""A secret value goes through everything that can happen to an event, and is then looked for everywhere else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import holding, payload_store, traces, undeclared
from tests.support.commands import run_python
from tests.support.dashboard import start_dashboard
from tests.support.processes import child_env
from tests.support.redis_server import connect
from tests.support.shop import Shop
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

#: What stands for the names in the docs' patterns.
OWN = {"prefix": "canary:", "topic": "canary-topic", "queue": "canary.*", "group id": "*"}

SOURCE = '''
"""Logins: what can become of a delivery, and of an event for others."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, SecretStr

from events_core import DomainEvent, EventSystem, Limit, NotificationEvent, Retry, RetryLater
from events_core.brokers import RedisStreamBroker
from events_core.secret import Secret

logger = logging.getLogger("canary")
FILES = Path(os.environ["SHOP_FILES"])
events = EventSystem("canary", message_broker=RedisStreamBroker(os.environ["EVENTS_BROKER_URL"]))


class Session(BaseModel):
    user: str
    cookie: Annotated[str, Secret]


class LoggedIn(DomainEvent, event_type="canary.logged_in"):
    token: Annotated[str, Secret]
    password: SecretStr
    sessions: list[Session]
    tags: dict[str, Annotated[str, Secret]] = {}


class Stepped(DomainEvent, event_type="canary.stepped"):
    token: Annotated[str, Secret]


class Told(NotificationEvent, event_type="canary.told", topic="canary-topic"):
    token: Annotated[str, Secret]
    password: SecretStr


def read(event: LoggedIn | Told) -> None:
    """In the handler it is readable, and nowhere else."""
    assert event.token == event.password.get_secret_value() == os.environ["CANARY"]


@events.handler(LoggedIn)
def logs(event: LoggedIn) -> None:
    read(event)
    logger.info("seen %s and %r", event, [event])
    logger.debug("sent on %s", event.model_dump_json())


@events.handler(LoggedIn, retry=None)
def dies(event: LoggedIn) -> None:
    read(event)
    raise ValueError(f"bad login {event.token} {event.password.get_secret_value()!r}")


@events.handler(LoggedIn, retry=Retry(base=0.1, jitter=False))
def is_retried(event: LoggedIn) -> None:
    if (tried := FILES / "tried").exists():
        logger.info("retried")
        return
    tried.touch()
    error = RuntimeError("no")
    error.add_note(f"with {event.token}")
    try:
        raise KeyError(event.sessions[0].cookie)
    except KeyError as cause:
        raise ExceptionGroup("several", [error, ValueError(event.token.encode())]) from cause


@events.handler(LoggedIn, limit=Limit("one", 1))
def is_limited(event: LoggedIn) -> None:
    while not (FILES / "open").exists():
        time.sleep(0.02)


@events.handler(LoggedIn)
def is_delayed(event: LoggedIn) -> None:
    raise RetryLater(3600)


@events.handler(Stepped)
def steps(event: Stepped) -> None:
    logger.info("stepped %s", event)


@events.handler(LoggedIn, retry=None)
def tells(event: LoggedIn) -> Told:
    return Told(token=event.token, password=event.password)


@events.subscriber(events=[Told], retry=None)
def hears(event: Told) -> None:
    read(event)
    logger.info("heard %s", event)
    raise RuntimeError(f"cannot be told {event.token}")
'''

EMIT = """
import os, shop
shop.events.load()
value = os.environ["CANARY"]
session = shop.Session(user="ada", cookie=value)
events = [shop.LoggedIn(token=value, password=value, sessions=[session], tags={"k": value}) for _ in range(2)]
shop.events.emit_many(events)
shop.events.emit_group([shop.Stepped(token=value) for _ in range(3)], max_parallel=1)
print("emitted", events, shop.Told(token=value, password=value))
"""


@pytest.fixture
def canary() -> str:
    return f"tok_{secrets.token_hex(12)}é+/"


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, canary: str) -> Shop:
    made = Shop.at(tmp_path, redis_url, source=SOURCE)
    return Shop(tmp_path, made.env | {"CANARY": canary})


def test_a_secret_is_in_the_declared_payload_store_and_nowhere_else(shop: Shop, redis_url: str, canary: str) -> None:
    """The worker's log at DEBUG, Flower, all commands, and every key of Redis but those that the docs declare."""
    dashboard = start_dashboard(shop)
    worker = shop.worker("-E", "-l", "DEBUG")
    emitted = run_python("-c", EMIT, env=child_env(shop.env), cwd=shop.folder)
    assert emitted.returncode == 0, emitted.stderr
    for line in ("seen ", "retried", "stepped ", "heard ", "sent on "):
        worker.wait_for_log(line)
    letters = wait_until(lambda: four_dead(redis_url), what="two logins and two tellings to be dead")
    printed = [emitted.stdout + emitted.stderr, *command_outputs(shop, letters)]
    while_parked = holding(redis_url, canary)

    ran = shop.events("dead", "redrive", "--all", "--yes")
    assert ran.returncode == 0, ran.stderr
    again = wait_until(lambda: four_dead(redis_url, but=letters), what="them to be dead again")
    assert {letter["error_type"] for letter in again} == {"ValueError", "RuntimeError"}  # so they read it again
    (shop.folder / "open").touch()
    wait_until(lambda: not hash_of(redis_url, "canary:parked:messages"), what="what was parked to be done")
    pages = ["/", "/workers", "/tasks", "/broker", "/api/tasks", "/api/workers"]
    pages += [f"/task/{task}" for task in dashboard.tasks()]
    printed += [ran.stdout + ran.stderr, *map(dashboard.page, pages)]
    worker.terminate()
    printed += [worker.log, dashboard.process.log]

    assert "DEBUG" in worker.log
    assert "token='***'" in worker.log
    for text in printed:
        assert not [form for form in traces(canary) if form in text], text
    declared = payload_store(OWN)
    assert {"canary:dead:letters", "canary:scheduled:messages", "canary:parked:messages"} <= while_parked
    for keys in (while_parked, holding(redis_url, canary)):
        assert undeclared(keys, declared) == set()


def hash_of(redis_url: str, key: str) -> dict[str, Any]:
    """A hash of JSON, or of what is none, as it is."""
    with connect(redis_url) as client:
        found: dict[bytes, bytes] = client.hgetall(key)
        return {name.decode(): value for name, value in found.items()}


def four_dead(redis_url: str, but: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    letters = [json.loads(value) for value in hash_of(redis_url, "canary:dead:letters").values()]
    assert sorted(letter["handler"] for letter in letters) == ["shop.dies"] * 2 + ["shop.hears"] * 2
    assert not {letter["id"] for letter in letters} & {letter["id"] for letter in but}
    return letters


def command_outputs(shop: Shop, letters: list[dict[str, Any]]) -> Iterator[str]:
    """What the commands print that look at deliveries."""
    commands = [["status"], ["limits"], ["groups", "--all"], ["subscriptions"], ["dead", "list"]]
    by_handler = {letter["handler"]: letter["id"] for letter in letters}
    commands += [["dead", "show", letter_id, "--payload"] for letter_id in by_handler.values()]
    for command in commands:
        ran = shop.events(*command)
        assert ran.returncode == 0, ran.stderr
        assert '"token": "***"' in ran.stdout or "--payload" not in command
        yield ran.stdout + ran.stderr
