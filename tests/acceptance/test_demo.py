"""`make demo`, as its user runs it."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from events_core import DomainEvent, EventSystem, Limit
from events_core.embedded import is_running
from examples.shop.journal import open_journal
from examples.shop_demo.account import Account
from tests.support.processes import Process, child_env, start_python

pytestmark = pytest.mark.apps

DONE = "demo: 300 emitted, 1498 deliveries: 1497 done, 1 dead, 0 lost"


def start_demo(folder: Path, **env: str) -> Process:
    return start_python("-m", "examples.shop_demo", cwd=folder, name="the demo", env=env)


def children_of(demo: Process) -> list[psutil.Process]:
    return psutil.Process(demo.pid).children(recursive=True)


def assert_all_ended(folder: Path, children: list[psutil.Process]) -> None:
    assert children
    assert not any(child.is_running() for child in children)
    assert not is_running(folder / ".demo" / "redis")


def test_every_delivery_is_accounted_for(tmp_path: Path) -> None:
    # A broker from elsewhere must not be used.
    demo = start_demo(tmp_path, EVENTS_BROKER_URL="redis://127.0.0.1:1/0")
    assert demo.wait(timeout=120) == 0, demo.log
    lines = demo.log.splitlines()
    assert lines[-1] == DONE
    assert len(lines) < 60, "a log that is no terminal is redrawn"
    assert "\x1b" not in demo.log
    assert re.search(r"^retried +30$", demo.log, re.MULTILINE)
    assert re.search(r"p50 [\d.]+ ms, p99 [\d.]+ ms$", demo.log, re.MULTILINE)
    receipts = next(line for line in lines if "send_receipt" in line)
    assert receipts.rstrip(" │").endswith(" 2 <= 2"), "as many at once as its limit lets, and no more"

    command = next(line.strip() for line in lines if "dead list" in line)
    shown = subprocess.run(
        f"{command} --json", shell=True, cwd=tmp_path, env=child_env(), capture_output=True, text=True, check=True
    )
    [letter] = json.loads(shown.stdout)
    assert letter["handler"] == "examples.shop.handlers.charge"
    assert letter["reason"] == "gave_up"
    assert not is_running(tmp_path / ".demo" / "redis")


def test_more_at_once_than_the_limit_is_a_failure(tmp_path: Path) -> None:
    """The account of three receipts that worked beside one another, as two processes would write it."""
    journal = tmp_path / "journal.sqlite3"
    system = EventSystem("demo", broker_url="redis://127.0.0.1:1/0")
    name = system.bind(Paid, send_receipt, limit=Limit("smtp", 2)).name
    account = Account(system, journal)
    connection = open_journal(str(journal))
    try:
        for began, ended in ((1.0, 3.0), (2.0, 4.0), (4.0, 5.0)):
            write_run(connection, name, began, ended)
        account.read_journal()
        assert account.tallies()[name].at_once == 2, "one that begins when another ends is not beside it"
        assert not account.over_limit()

        write_run(connection, name, 2.5, 2.6)
        account.read_journal()
        assert account.tallies()[name].at_once == 3
        assert account.over_limit() == [f"3 of {name} ran at once, and its limit is 2"]
    finally:
        connection.close()
        account.close()


class Paid(DomainEvent, event_type="demo.paid"):
    """Of an order."""


def send_receipt(event: Paid) -> None: ...


def write_run(connection: sqlite3.Connection, handler: str, began: float, ended: float) -> None:
    row = (f"delivery-{began}", handler, 0.0, 0.0, began, ended, True, "[]")
    connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def test_serve_leaves_everything_running_until_ctrl_c(tmp_path: Path) -> None:
    pytest.importorskip("flower")
    demo = start_demo(tmp_path, SERVE="1")
    demo.wait_for_log(r"^Ctrl-C ends them", timeout=120)
    assert DONE in demo.log.splitlines()
    shop = demo.wait_for_log(r"^shop +(http://[\d.:]+)/")[1]
    flower = demo.wait_for_log(r"^Flower (\S+) \(user (\S+), password (\S+)\)")
    order = {"sku": "tea", "quantity": 1, "email": "ada@example.com", "card_token": "tok_visa"}
    assert httpx.post(f"{shop}/orders", json=order).status_code == 202
    assert httpx.get(flower[1]).status_code == 401
    assert httpx.get(flower[1], auth=(flower[2], flower[3])).status_code == 200

    children = children_of(demo)
    demo.signal(signal.SIGINT)
    assert demo.wait() == 0
    assert_all_ended(tmp_path, children)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_ends_its_processes(tmp_path: Path, number: signal.Signals, code: int) -> None:
    demo = start_demo(tmp_path)
    demo.wait_for_log(r"^\d+ of 300 orders sent", timeout=60)
    children = children_of(demo)
    demo.signal(number)
    assert demo.wait() == code
    assert_all_ended(tmp_path, children)


def test_a_failed_start_shows_why(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise RuntimeError('no web today')\n")
    demo = start_demo(tmp_path)
    assert demo.wait(timeout=60) == 1
    assert "the shop has ended (exit code 1)" in demo.log
    assert "no web today" in demo.log
    assert not is_running(tmp_path / ".demo" / "redis")


def test_two_demos_do_not_disturb_each_other(tmp_path: Path) -> None:
    first = start_demo(tmp_path)
    first.wait_for_log(r"^starting")
    second = start_demo(tmp_path)
    assert second.wait() == 1
    assert "another demo runs in" in second.log
    first.signal(signal.SIGTERM)
    assert first.wait() == 143
