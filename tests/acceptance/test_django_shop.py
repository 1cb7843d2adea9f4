"""examples/django_shop, as its README says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.django_shop import LETTERS, DjangoShop, start_django_shop
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

README = ROOT / "examples" / "django_shop" / "README.md"


def test_the_command_is_the_one_of_its_readme() -> None:
    assert "\npython -m examples.django_shop\n" in README.read_text()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[DjangoShop]:
    """On the embedded Redis, which ends with the last that uses it if that is asked to end."""
    started = start_django_shop(tmp_path / "shop")
    yield started
    assert started.process.terminate() in (0, 130)


def test_orders_their_effects_and_a_dead_letter_that_is_redriven(shop: DjangoShop) -> None:
    """What is clicked is what its README says."""
    assert shop.order() == "Order 1 is placed."
    wait_until(lambda: "not yet" not in shop.rows()[0], 30, "order 1 to be paid, and its receipt sent")

    assert shop.order("coffee", 50) == "There are no 50 of coffee left."
    assert len(shop.rows()) == 1, "the order was rolled back"

    assert shop.order(card="declined") == "Order 2 is placed."
    shop.log_in()
    [letter] = wait_until(shop.letters, 30, "the dead letter of order 2")
    page = shop.client.get(f"{LETTERS}{letter}/change/").text
    assert "the card of order 2 is declined" in page
    assert "&quot;order_id&quot;: 2" in page

    shop.post("/orders/2/card", "/")
    asked = shop.post(LETTERS, LETTERS, action="redrive", _selected_action=[letter])
    assert "Redrive 1 dead letter?" in asked.text
    done = shop.post(LETTERS, LETTERS, action="redrive", _selected_action=[letter], confirmed="yes")
    assert "1 of 1 redriven." in done.text
    wait_until(lambda: "not yet" not in shop.rows()[0], 30, "order 2 to be paid, and its receipt sent")
    assert shop.letters() == []

    packed = re.findall(r"pack order (\d+)", shop.process.log)
    assert sorted(packed) == ["1", "2"], "what was rolled back has emitted nothing"


def test_on_a_given_redis_and_a_second_time(tmp_path: Path, redis_url: str) -> None:
    """Its database is made on the first run, and kept."""
    shop = start_django_shop(tmp_path / "shop", redis_url)
    shop.order()
    wait_until(lambda: "not yet" not in shop.rows()[0], 30, "order 1 to be paid, and its receipt sent")
    shop.process.terminate()
    again = start_django_shop(tmp_path / "shop", redis_url)
    assert [row[0] for row in again.rows()] == ["1"]
