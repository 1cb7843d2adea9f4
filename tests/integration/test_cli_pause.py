"""`events pause` and `events resume`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bank import bank_at, began, done, transfer
from tests.support.shop import Shop
from tests.support.waiting import wait_until


@pytest.fixture
def bank(tmp_path: Path, redis_url: str) -> Shop:
    return bank_at(tmp_path, redis_url)


def waiting(bank: Shop) -> dict[str, int]:
    return {row["handler"]: row["waiting"] for row in bank.json("pause")}


def test_nothing_is_paused(bank: Shop) -> None:
    assert bank.json("pause") == []
    assert bank.events("pause").stdout == "no handler is paused\n"


def test_deliveries_wait_and_none_is_lost(bank: Shop) -> None:
    (bank.folder / "go").touch()
    assert "shop.transfer is paused" in bank.events("pause", "bank.send").stdout  # by its alias
    bank.worker()
    transfer(bank, 5)
    wait_until(lambda: waiting(bank) == {"shop.transfer": 5}, what="all five to wait")
    assert began(bank) == 0
    wait_until(lambda: bank.json("status")["parked"] == 5, what="nothing else to be parked")
    assert bank.json("status")["paused"] == ["shop.transfer"]
    printed = bank.events("status").stdout
    assert "parked: 5" in printed
    assert "paused: shop.transfer" in printed
    assert "shop.transfer  5" in bank.events("pause").stdout
    resumed = bank.json("resume", "shop.transfer")
    assert resumed == {"handler": "shop.transfer", "resumed": True, "waited": 5}
    wait_until(lambda: done(bank) == 5, what="all five to be done")
    assert waiting(bank) == {}
    wait_until(lambda: bank.json("status")["parked"] == 0, what="nothing to be parked")


def test_twice_is_as_once(bank: Shop) -> None:
    for _ in range(2):
        assert bank.json("pause", "shop.book") == [{"handler": "shop.book", "waiting": 0}]
    assert bank.json("resume", "shop.book")["resumed"]
    assert bank.events("resume", "shop.book").stdout == "shop.book was not paused: nothing to do\n"


def test_a_handler_that_there_is_not(bank: Shop) -> None:
    for command in ("pause", "resume"):
        ran = bank.events(command, "shop.transfr")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "error: 'shop.transfr' is no handler of 'shop': did you mean shop.transfer?\n"
        assert "did you mean shop.book?" in bank.events(command, "Book").stderr
    assert bank.json("pause") == []


def test_one_that_the_code_has_no_more_can_be_resumed(bank: Shop) -> None:
    bank.json("pause", "shop.book")
    source = (bank.folder / "shop.py").read_text()
    (bank.folder / "shop.py").write_text(source.replace("def book", "def write_down"))
    assert bank.json("resume", "shop.book")["resumed"]
    assert bank.events("resume", "shop.book").returncode == 1


def test_an_existing_celery_task_cannot_be_paused(bank: Shop) -> None:
    task = "\n@events.celery.task(name='old.task')\ndef old(): ...\nevents.bind(Transferred, old)\n"
    with (bank.folder / "shop.py").open("a") as source:
        source.write(task)
    ran = bank.events("pause", "old.task")
    assert ran.returncode == 1
    assert "is a Celery task of the application's own" in ran.stderr
