"""Flower in a real browser: Debian's chromium, headless."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from tests.support.dashboard import PASSWORD, USER, start_dashboard, wait_for_states
from tests.support.finding import find
from tests.support.missing import missing
from tests.support.shop import SECRET, Shop

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",  # milliseconds of the page's own time, in which it fetches its tables
]
STATES = {"shop.receipt": "SUCCESS", "shop.reserve": "SUCCESS", "shop.Charge": "FAILURE"}


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], str]:
    """Opens a URL, and gives the text that a person would read there."""
    found = find("chromium", "chromium")
    if found is None:
        missing("no chromium: install it (Debian: apt-get install chromium)")
    profile = tmp_path / "profile"

    def look(url: str) -> str:
        ran = subprocess.run(
            [found.binary, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        without_scripts = re.sub(r"<(script|style)\b.*?</\1>", " ", ran.stdout, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", without_scripts)).split())

    return look


def test_a_done_a_retried_and_a_dead_delivery(tmp_path: Path, redis_url: str, look: Callable[[str], str]) -> None:
    shop = Shop.at(tmp_path, redis_url)
    dashboard = start_dashboard(shop)
    shop.worker("-E")
    [event_id] = shop.place_orders(1)
    tasks = wait_for_states(dashboard, STATES)
    here = f"http://{USER}:{PASSWORD}@127.0.0.1:{dashboard.port}"

    overview = look(f"{here}/tasks")
    arguments = f"order.placed {event_id[:8]}…"
    for name, state in STATES.items():
        assert f"{name} {arguments} {state}" in overview
    assert SECRET not in overview

    pages = {name: look(f"{here}/task/{task['uuid']}") for name, task in tasks.items()}
    for name, page in pages.items():
        assert name in page
        assert arguments in page
        assert STATES[name] in page
        assert SECRET not in page
    assert "Retry" in pages["shop.reserve"]
    assert "DeadLettered" in pages["shop.Charge"]
    assert "exhausted: ValueError" in pages["shop.Charge"]


def test_a_delivery_that_waits_for_its_retry(tmp_path: Path, redis_url: str, look: Callable[[str], str]) -> None:
    source = "from __future__ import annotations\n" + (
        "from events_core import DomainEvent, EventSystem, RetryLater\n"
        "events = EventSystem('shop')\n"
        "class OrderPlaced(DomainEvent, event_type='order.placed'):\n    order_id: int\n    email: str\n"
        "@events.handler(OrderPlaced)\n"
        "def patient(event: OrderPlaced) -> None:\n    raise RetryLater(3600)\n"
    )
    shop = Shop.at(tmp_path, redis_url, source=source)
    dashboard = start_dashboard(shop)
    shop.worker("-E")
    shop.place_orders(1)
    wait_for_states(dashboard, {"shop.patient": "RETRY"})
    page = look(f"http://{USER}:{PASSWORD}@127.0.0.1:{dashboard.port}/tasks")
    assert re.search(r"shop\.patient order\.placed \w{8}… RETRY", page)
    assert shop.json("status")["scheduled"] == 1


def test_without_credentials_there_is_nothing_to_see(
    tmp_path: Path, redis_url: str, look: Callable[[str], str]
) -> None:
    dashboard = start_dashboard(Shop.at(tmp_path, redis_url))
    page = look(f"http://127.0.0.1:{dashboard.port}/tasks")
    assert "Task history" not in page
    assert "UUID" not in page
