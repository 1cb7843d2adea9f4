"""`events dead`: looking at dead letters, redriving and discarding them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker_queues import put_raw
from tests.support.shop import SECRET, Shop
from tests.support.waiting import wait_until

PROMISED = ["id", "event_id", "event_type", "version", "handler", "reason", "error", "starts", "first_at", "dead_at"]


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Shop:
    return Shop.at(tmp_path, redis_url)


@pytest.fixture
def three_dead(shop: Shop) -> list[dict[str, Any]]:
    """Three orders of which the payment is dead, and a worker that runs."""
    shop.worker()
    shop.place_orders(3)
    return wait_until(lambda: len(found := shop.json("dead", "list")) == 3 and found, what="three dead letters")


class TestList:
    def test_it_gives_scripts_what_is_promised_and_no_payload(
        self, shop: Shop, three_dead: list[dict[str, Any]]
    ) -> None:
        letter = three_dead[0]
        assert list(letter)[: len(PROMISED)] == PROMISED
        assert (letter["event_type"], letter["version"]) == ("order.placed", 1)
        assert (letter["handler"], letter["reason"], letter["starts"]) == ("shop.Charge", "exhausted", 1)
        printed = shop.events("dead", "list")
        assert all(letter["id"] in printed.stdout for letter in three_dead)
        assert printed.stdout.endswith("3 dead letters\n")
        assert SECRET not in printed.stdout + json.dumps(three_dead)

    def test_filters(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        def ids(*args: str) -> list[str]:
            return [letter["id"] for letter in shop.json("dead", "list", *args)]

        first, second, third = (letter["id"] for letter in three_dead)
        assert ids("--handler", "shop.*", "--type", "order.placed", "--reason", "exhausted") == [first, second, third]
        assert ids("--handler", "shop.receipt") == ids("--type", "invoice.*") == ids("--reason", "poison") == []
        assert ids(first, three_dead[1]["event_id"]) == [first, second]

    def test_an_id_that_is_not_there_is_an_error(self, shop: Shop) -> None:
        ran = shop.events("dead", "list", "nothing")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "error: no dead letter with this id of a delivery or event: nothing\n"

    def test_none(self, shop: Shop) -> None:
        assert shop.json("dead", "list") == []
        assert shop.events("dead", "list").stdout == "no dead letters\n"

    def test_a_reason_that_there_is_not_is_refused(self, shop: Shop) -> None:
        ran = shop.events("dead", "list", "--reason", "bad-luck")
        assert ran.returncode == 2
        assert "'exhausted'" in ran.stderr


class TestShow:
    def test_everything_but_the_payload_unless_asked_for(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        letter_id = three_dead[0]["id"]
        for args in (["dead", "show", letter_id], ["dead", "show", three_dead[0]["event_id"], "--json"]):
            shown = shop.events(*args)
            assert letter_id in shown.stdout
            assert "in handle" in shown.stdout  # the traceback
            assert SECRET not in shown.stdout
        assert shop.json("dead", "show", letter_id, "--payload")["payload"]["data"]["email"] == SECRET
        assert SECRET in shop.events("dead", "show", letter_id, "--payload").stdout

    def test_an_id_that_is_not_there_is_an_error(self, shop: Shop) -> None:
        ran = shop.events("dead", "show", "nothing")
        assert ran.returncode == 1
        assert "no dead letter" in ran.stderr


class TestRedrive:
    def test_it_refuses_without_a_selection(self, shop: Shop) -> None:
        ran = shop.events("dead", "redrive")
        assert ran.returncode == 2
        assert "or --all" in ran.stderr
        assert shop.events("dead", "redrive", "--all", "--reason", "poison").returncode == 2

    def test_a_dry_run_only_shows(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        assert shop.json("dead", "redrive", "--all", "--dry-run") == three_dead
        assert shop.json("dead", "list") == three_dead

    def test_several_only_after_a_yes(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        refused = shop.events("dead", "redrive", "--all", said="n\n")
        assert refused.returncode == 1
        assert "redrive 3 dead letters?" in refused.stderr
        assert shop.json("dead", "list") == three_dead

    def test_they_are_done_once_the_fault_is_mended(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        (shop.folder / "solvent").touch()
        ids = {letter["id"] for letter in three_dead}
        results = shop.json("dead", "redrive", "--all", "--yes", "--rate", "100")
        assert {result["id"] for result in results} == ids
        assert {result["outcome"] for result in results} == {"redriven"}
        assert not ids & {result["redriven_as"] for result in results}
        wait_until(lambda: not any(shop.json("status")["queues"].values()), what="the queues to be empty")
        assert shop.json("dead", "list") == []

    def test_one_needs_no_yes_and_a_second_time_does_nothing(
        self, shop: Shop, three_dead: list[dict[str, Any]]
    ) -> None:
        (shop.folder / "solvent").touch()
        letter_id = three_dead[0]["id"]
        first = shop.events("dead", "redrive", letter_id)
        assert (first.returncode, first.stdout[:12]) == (0, "redriven as ")
        second = shop.events("dead", "redrive", letter_id)
        assert second.returncode == 1
        assert "no dead letter" in second.stderr
        assert len(shop.json("dead", "list")) == 2

    def test_dead_again_it_is_of_the_next_generation(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        [result] = shop.json("dead", "redrive", three_dead[0]["id"])
        wait_until(lambda: len(shop.json("dead", "list")) == 3, what="it to be dead again")
        again = shop.json("dead", "show", result["redriven_as"])
        assert (again["generation"], again["event_id"]) == (1, three_dead[0]["event_id"])

    def test_what_is_no_delivery_is_refused_with_the_reason(self, shop: Shop, redis_url: str) -> None:
        shop.worker()
        put_raw(redis_url, "shop.events", b"\xff\x00 no message")
        [letter] = wait_until(lambda: shop.json("dead", "list"), what="the dead letter")
        assert (letter["reason"], letter["event_id"]) == ("undecodable", None)
        ran = shop.events("dead", "redrive", letter["id"])
        assert ran.returncode == 1
        assert f"{letter['id']} is no delivery (undecodable)" in ran.stderr
        assert shop.json("dead", "list") == [letter]
        assert shop.json("dead", "show", letter["id"], "--payload")["payload"]["base64"]

    def test_while_the_broker_is_down_they_stay(self, tmp_path: Path, redis_url: str, system_name: str) -> None:
        shop = Shop.at(tmp_path, redis_url)
        shop.worker()
        shop.place_orders(1)
        letters = wait_until(lambda: shop.json("dead", "list"), what="the dead letter")
        without = {"EVENTS_BROKER_URL": "redis://127.0.0.1:1/0", "EVENTS_REDIS_URL": redis_url}
        ran = shop.events("dead", "redrive", "--all", env=without)
        assert ran.returncode == 1
        assert "stays dead" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert shop.json("dead", "list") == letters


class TestDiscard:
    def test_by_id_and_all(self, shop: Shop, three_dead: list[dict[str, Any]]) -> None:
        assert shop.events("dead", "discard").returncode == 2
        assert shop.events("dead", "discard", "--all", said="n\n").returncode == 1
        assert len(shop.json("dead", "discard", "--all", "--dry-run")) == 3
        assert shop.events("dead", "discard", three_dead[0]["id"]).stdout == "1 of 1 discarded\n"
        assert shop.json("dead", "list") == three_dead[1:]
        assert shop.json("dead", "discard", "--handler", "shop.Charge", "--yes") == three_dead[1:]
        assert shop.json("dead", "list") == []


def test_a_redis_that_is_down_is_said_so(tmp_path: Path) -> None:
    shop = Shop.at(tmp_path, "redis://:hidden@127.0.0.1:1/0")
    for command in ("list", "redrive --all", "discard --all", "show x"):
        ran = shop.events("dead", *command.split())
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("error: the coordination Redis redis://:***@127.0.0.1:1/0 does not answer")
        assert "Traceback" not in ran.stderr
