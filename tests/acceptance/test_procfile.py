"""The Procfile, run by honcho as somebody on a laptop does: the shop, its worker and Flower, and their end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import processes
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

USER, PASSWORD = "operator", "only-for-this-test"
STARTED = r"(\w+)\.1 started \(pid=(\d+)\)"
BIN = Path(sys.executable).parent


@dataclass
class Honcho:
    """honcho with the processes that it started: each is the leader of a process group of its own."""

    process: processes.Process
    web: str
    flower: str
    journal: Path

    def pids(self) -> dict[str, int]:
        return {name: int(pid) for name, pid in re.findall(STARTED, self.process.log)}

    def left(self) -> set[str]:
        """Names of those of which a process is still there."""
        return {name for name, pid in self.pids().items() if _group_lives(pid)}

    def get(self, url: str, auth: tuple[str, str] | None = None) -> int:
        """The status of the answer, and 0 while nobody answers."""
        assert self.process.alive, self.process.log[-4000:]
        try:
            return httpx.get(url, auth=auth, trust_env=False, timeout=10).status_code
        except httpx.TransportError:
            return 0

    def order(self) -> dict[str, str]:
        """Orders, and returns the deliveries that follow: id by handler."""
        order = {"sku": "tea", "quantity": 2, "email": "ada@example.com", "card_token": "tok_visa"}
        answer = httpx.post(f"{self.web}/orders", json=order, trust_env=False, timeout=10)
        assert answer.status_code == 202, answer.text
        body: dict[str, Any] = answer.json()
        return dict(body["deliveries"])

    def done(self) -> set[tuple[str, str]]:
        """What has been handled by now: handlers with the ids of their deliveries."""
        if not self.journal.exists():
            return set()
        with sqlite3.connect(self.journal) as journal:
            try:
                return set(journal.execute("SELECT handler, delivery_id FROM runs WHERE done"))
            except sqlite3.OperationalError:  # the worker makes the table right now
                return set()


def _group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _path() -> str:
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))
    for command in ("events", "uvicorn"):
        assert shutil.which(command, path=path), f"no command {command} beside {sys.executable}: make setup installs it"
    return path


@pytest.fixture
def honcho(redis_url: str, tmp_path: Path) -> Iterator[Honcho]:
    web, flower = free_port(), free_port()
    env = {
        "PATH": _path(),
        "PORT": str(web),
        "FLOWER_PORT": str(flower),
        "EVENTS_BROKER_URL": redis_url,
        "EVENTS_DATA_DIR": str(tmp_path / "data"),
        "EVENTS_FLOWER_USER": USER,
        "EVENTS_FLOWER_PASSWORD": PASSWORD,
        "SHOP_JOURNAL": str(tmp_path / "journal.db"),
    }
    # -e: not an .env of the developer's
    command = ["-m", "honcho", "-e", str(tmp_path / "no.env"), "start", "--no-colour"]
    process = processes.start_python(*command, env=env, name="honcho start")
    started = Honcho(process, f"http://127.0.0.1:{web}", f"http://127.0.0.1:{flower}", tmp_path / "journal.db")
    yield started
    # What honcho starts is not in its group, and would outlive it if the test has failed.
    process.kill9()
    for pid in started.pids().values():
        if _group_lives(pid):
            os.killpg(pid, signal.SIGKILL)


def test_web_worker_and_flower_run_and_end_together(honcho: Honcho) -> None:
    wait_until(lambda: honcho.get(f"{honcho.web}/healthz") == 200, 60, "the shop to answer")
    deliveries = honcho.order()
    assert deliveries
    wait_until(lambda: deliveries.items() <= honcho.done(), 60, "the order's handlers to be done")
    wait_until(lambda: any("send_receipt" in handler for handler, _ in honcho.done()), 60, "the receipt of the payment")

    wait_until(lambda: honcho.get(honcho.flower) == 401, 60, "Flower to ask for a password")
    assert honcho.get(honcho.flower, (USER, "another")) == 401
    assert honcho.get(f"{honcho.flower}/", (USER, PASSWORD)) == 200

    assert set(honcho.pids()) == honcho.left() == {"web", "worker", "flower"}
    honcho.process.terminate(60)
    wait_until(lambda: not honcho.left(), 30, "every process to be gone")
    assert "Warm shutdown" in honcho.process.log
