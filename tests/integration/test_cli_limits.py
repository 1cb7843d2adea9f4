"""`events limits`: looking at limits, changing them, and taking places from the dead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events_core.publishing.stored import StoredMessage
from tests.support.admission import LEASE, Gatehouse
from tests.support.bank import bank_at, began, done, transfer
from tests.support.shop import Shop
from tests.support.waiting import wait_until

BANK = "limit:bank|"


@pytest.fixture
def bank(tmp_path: Path, redis_url: str) -> Shop:
    return bank_at(tmp_path, redis_url)


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    """Workers that have declared what the code of the fixture `bank` defines."""
    house = Gatehouse(redis_url)
    house.declare(limit_bank=2)
    yield house
    house.close()


def of(shown: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in shown if row["name"] == name)


class TestList:
    def test_before_any_worker_has_run(self, bank: Shop) -> None:
        shown = bank.json("limits")
        assert [(row["kind"], row["name"]) for row in shown] == [
            ("limit", "bank"), ("rate", "api"), ("breaker", "db"), ("order", "shop.book"),
        ]  # fmt: skip
        assert (of(shown, "bank")["in_force"], of(shown, "bank")["in_code"]) == (None, "2")
        printed = bank.events("limits").stdout
        assert "not in force: no worker that runs declares it (the code: 2)" in printed
        assert "100/s, burst 1" in printed
        assert "nobody holds a place or waits" in printed

    def test_who_holds_and_who_waits(self, bank: Shop, house: Gatehouse) -> None:
        for name in ("a-delivery", "another"):
            house.go(name, BANK)
        house.wait("the-waiter", BANK)
        row = of(bank.json("limits", "list"), "bank")
        assert (row["max"], row["overridden"], row["keys_in_use"], row["waiting"]) == (2, False, 1, 1)
        [key] = row["keys"]
        assert (key["key"], key["held"], key["waiting"]) == ("", 2, 1)
        assert key["oldest_wait"] >= 0
        assert {holder["delivery"] for holder in key["holders"]} == {"a-delivery", "another"}
        holder = key["holders"][0]
        assert (holder["state"], holder["worker"].count(":")) == ("running", 1)
        assert 0 <= holder["age"] < 60
        assert 0 < holder["lease_left"] <= 30
        printed = bank.events("limits").stdout
        assert "a-delivery" in printed
        assert holder["worker"] in printed

    def test_many_keys(self, bank: Shop, house: Gatehouse) -> None:
        for key in range(60):
            house.go(f"of-{key}", f"{BANK}{key}")
        for number in range(2):
            house.go(f"full-{number}", f"{BANK}busy")
        house.wait("waiter", f"{BANK}busy")
        row = of(bank.json("limits"), "bank")
        assert (row["keys_in_use"], len(row["keys"]), row["keys"][0]["key"]) == (61, 50, "busy")
        assert len(of(bank.json("limits", "--all"), "bank")["keys"]) == 61
        assert "11 further keys are in use (--all shows them)" in bank.events("limits").stdout

    def test_a_key_is_shown_as_text_whatever_is_in_it(self, bank: Shop, house: Gatehouse) -> None:
        house.go("one", f"{BANK}\x1b[31m[bold]red|x")
        printed = bank.events("limits").stdout
        assert "\x1b" not in printed
        assert "[31m[bold]red|x" in printed

    def test_nothing_is_limited(self, tmp_path: Path, redis_url: str) -> None:
        assert "no handler has a limit" in Shop.at(tmp_path, redis_url).events("limits").stdout


class TestSet:
    def test_it_holds_through_deployments_until_it_is_unset(self, bank: Shop, house: Gatehouse) -> None:
        assert "limit bank: 20 (before: 2, the code says 2)" in bank.events("limits", "set", "bank", "20").stdout
        house.advance(120_000)
        house.declare(limit_bank=3)
        row = of(bank.json("limits"), "bank")
        assert (row["max"], row["overridden"], row["in_code"]) == (20, True, "3")
        assert "overridden (the code: 3)" in bank.events("limits").stdout
        assert bank.json("limits", "unset", "bank") == {"name": "bank", "max": 3, "before": 20, "overridden": False}
        row = of(bank.json("limits"), "bank")
        assert (row["max"], row["overridden"]) == (3, False)

    def test_the_app_may_be_named_before_or_behind_the_command(self, bank: Shop, house: Gatehouse) -> None:
        without = {"EVENTS_APP": None}
        for args in (["-A", "shop", "set", "bank", "5"], ["set", "bank", "5", "-A", "shop"]):
            ran = bank.events("limits", *args, env=without)
            assert (ran.returncode, ran.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("args", "code", "said"),
        [
            ("set bnak 3", 1, "there is no limit 'bnak': did you mean bank?"),
            ("set else 3", 1, "there is no limit 'else': the limits are bank"),
            ("set api 3", 1, "'api' is the name of a rate: only limits can be changed here"),
            ("set bank 0", 2, "0 is not in the range x>=1"),
            ("set bank many", 2, "'many' is not a valid integer"),
            ("unset bank", 1, "the limit 'bank' is not set: there are no limits that are set"),
            ("release else x --yes", 1, "there is no limit 'else'"),
            ("release bank x --yes", 1, "x holds no place of the limit 'bank'"),
            ("release bank x --yes --key k", 1, "x holds no place of the limit 'bank' for the key 'k'"),
        ],
    )
    def test_what_is_refused(self, bank: Shop, args: str, code: int, said: str) -> None:
        ran = bank.events("limits", *args.split())
        assert (ran.returncode, ran.stdout) == (code, "")
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_up_and_down_in_the_middle_of_a_run(self, bank: Shop) -> None:
        """Issue 4, show 6, with few: holders follow, and nobody is interrupted."""
        bank.worker("-c", "12")
        transfer(bank, 12)
        wait_until(lambda: began(bank) == 2, what="two to begin")
        bank.json("limits", "set", "bank", "10")
        wait_until(lambda: began(bank) == 10, what="ten to run at once")
        bank.json("limits", "set", "bank", "1")
        row = of(bank.json("limits"), "bank")
        assert (row["max"], row["keys"][0]["held"], row["keys"][0]["waiting"]) == (1, 10, 2)
        (bank.folder / "go").touch()
        wait_until(lambda: done(bank) == 12, what="all to be done")
        wait_until(lambda: not of(bank.json("limits"), "bank")["keys"], what="the last place to be given back")


class TestRelease:
    def test_only_after_a_yes_and_the_next_gets_the_place(self, bank: Shop, house: Gatehouse) -> None:
        for name in ("dead", "alive"):
            house.go(name, f"{BANK}k")
        message = StoredMessage("shop.transfer", "shop.events", {"id": "next"}, "[[]]")
        house.park("next", 1, [f"{BANK}k"], LEASE, message.to_json())
        refused = bank.events("limits", "release", "bank", "dead", said="n\n")
        assert refused.returncode == 1
        assert "dead is running in " in refused.stderr
        assert "more than 2 will run at once. Is it dead?" in refused.stderr
        assert house.held(f"{BANK}k") == {"dead", "alive"}
        released = bank.json("limits", "release", "bank", "dead", "--key", "k", "--yes")
        assert released == {"name": "bank", "delivery": "dead", "keys": ["k"]}
        assert "dead" not in house.held(f"{BANK}k")
        assert "next" in house.held(f"{BANK}k")

    def test_the_key_of_an_order_goes_on(self, bank: Shop, house: Gatehouse) -> None:
        """Its retry was lost with the broker, say: it would keep its key for ever."""
        order = "order:shop.book|a"
        house.define({"order:shop.book": "continue"})
        house.enter("lost", order)
        message = StoredMessage("shop.book", "shop.events", {"id": "next"}, "[[]]")
        house.call(["enter", "next", 1, [order], message.to_json(), False])
        house.end("lost", house.begin(order)["lost"], order, result="retry")
        released = bank.json("limits", "release", "shop.book", "lost", "--yes")
        assert released == {"name": "shop.book", "delivery": "lost", "keys": ["a"]}
        assert house.held(order) == {"next"}

    @pytest.mark.contract  # a lease has to end
    def test_the_deliveries_of_a_killed_worker_run_elsewhere(self, bank: Shop) -> None:
        """Before their leases have ended."""
        worker = bank.worker("-c", "2")
        transfer(bank, 3)
        wait_until(lambda: began(bank) == 2, what="two to begin")
        holders = of(bank.json("limits"), "bank")["keys"][0]["holders"]
        assert {holder["worker"].rpartition(":")[2] for holder in holders} == {str(worker.pid)}
        worker.kill9()
        for holder in holders:
            bank.json("limits", "release", "bank", holder["delivery"], "--yes")
        (bank.folder / "go").touch()
        bank.worker("-c", "2")
        wait_until(lambda: done(bank) == 3, 60, "all three to be done")


def test_a_redis_that_is_down_is_said_so(tmp_path: Path) -> None:
    bank = bank_at(tmp_path, "redis://:hidden@127.0.0.1:1/0")
    for command in ("limits", "limits set bank 3", "groups", "groups cancel x", "pause", "pause shop.book", "resume x"):
        ran = bank.events(*command.split())
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("error: the coordination Redis redis://:***@127.0.0.1:1/0 does not answer")


def test_the_json_is_one_document(bank: Shop) -> None:
    assert isinstance(json.loads(bank.events("limits", "--json").stdout), list)
