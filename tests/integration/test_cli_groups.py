"""`events groups`: where groups stand, and cancelling them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.bank import bank_at, began, run
from tests.support.processes import child_env
from tests.support.shop import Shop
from tests.support.waiting import wait_until


@pytest.fixture
def bank(tmp_path: Path, redis_url: str) -> Shop:
    source = "\n\n@events.handler('only.transfer')\ndef unused(event) -> None: ...\n"
    bank = bank_at(tmp_path, redis_url)
    code = (tmp_path / "shop.py").read_text()  # one delivery for each event
    (tmp_path / "shop.py").write_text(code.partition("@events.handler(Transferred, ordered_by")[0] + source)
    return bank


def emit_group(bank: Shop, count: int, max_parallel: int = 2, name: str = "nightly") -> str:
    """The id of the group."""
    events = f"[shop.Transferred(number=i) for i in range({count})]"
    return run(bank, f"print(shop.events.emit_group({events}, max_parallel={max_parallel}, name={name!r}).id)")


def figures(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in ("total", "waiting", "running", "retrying", "done", "dead", "cancelled"))


def test_none(bank: Shop) -> None:
    assert bank.json("groups") == []
    assert bank.events("groups").stdout == "no group is under way (--all: completed ones too)\n"
    assert bank.events("groups", "--all").stdout == "no group is known\n"


def test_from_the_first_to_the_last(bank: Shop) -> None:
    bank.worker()
    group = emit_group(bank, 5)
    wait_until(lambda: began(bank) == 2, what="two to begin")
    [row] = bank.json("groups")
    assert (row["id"], row["name"], row["state"], row["max_parallel"]) == (group, "nightly", "running", 2)
    assert figures(row) == (5, 3, 2, 0, 0, 0, 0)
    assert group in bank.events("groups").stdout
    (bank.folder / "go").touch()
    wait_until(lambda: bank.json("groups") == [], what="the group to be over")
    [row] = bank.json("groups", "--all")
    assert (row["state"], row["done"]) == ("completed", 5)
    ran = bank.events("groups", "cancel", group)
    assert "has completed already" in ran.stdout


def test_newest_first(bank: Shop) -> None:
    ids = [emit_group(bank, 1, name=name) for name in ("one", "[bold]two")]
    assert [row["id"] for row in bank.json("groups")] == ids[::-1]
    assert "[bold]two" in bank.events("groups").stdout


def test_cancel(bank: Shop) -> None:
    bank.worker()
    group = emit_group(bank, 6)
    wait_until(lambda: began(bank) == 2, what="two to begin")
    row = bank.json("groups", "cancel", group)
    assert figures(row) == (6, 0, 2, 0, 0, 0, 4)
    assert "being cancelled" in bank.events("groups").stdout
    (bank.folder / "go").touch()
    wait_until(lambda: bank.json("groups") == [], what="the group to be over")
    assert figures(bank.json("groups", "--all")[0]) == (6, 0, 0, 0, 2, 0, 4)


def test_a_group_that_there_is_not(bank: Shop) -> None:
    ran = bank.events("groups", "cancel", "nothing")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no group nothing is known" in ran.stderr
    assert "`events groups --all` shows those there are" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_watching_is_for_terminals(bank: Shop) -> None:
    assert bank.events("groups", "--watch", "--json").returncode == 2
    assert bank.events("groups", "--watch").returncode == 0  # prints once


def test_bars_follow_until_ctrl_c(bank: Shop) -> None:
    with in_a_terminal(bank, "groups", "--watch") as (process, drawn):
        wait_until(lambda: "Groups" in drawn(), what="the first look")
        group = emit_group(bank, 4)
        wait_until(lambda: group in drawn(), what="the group that came meanwhile")
        assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in drawn()
        (bank.folder / "go").touch()
        bank.worker()
        wait_until(lambda: "completed" in drawn(), what="it to be over, and still shown")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Traceback" not in drawn()


@contextmanager
def in_a_terminal(bank: Shop, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Runs `events ARGS` in a terminal of its own; gives its process, and all that it has drawn so far."""
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (40, 220))
    its_own_size = {"COLUMNS": None, "LINES": None}  # what pytest-xdist says of that would go first
    os.set_blocking(here, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "events_worker.cli", *args],
        env=child_env({**bank.env, "TERM": "xterm", **its_own_size}),
        cwd=bank.folder,
        stdin=there,
        stdout=there,
        stderr=there,
    )
    seen = bytearray()

    def drawn() -> str:
        with suppress(BlockingIOError):
            while part := os.read(here, 65536):
                seen.extend(part)
        return seen.decode(errors="replace")

    try:
        yield process, drawn
    finally:
        process.kill()
        process.wait()
        os.close(there)
        os.close(here)
