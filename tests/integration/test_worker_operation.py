"""What an operator meets: a worker without its coordination Redis, and what `celery inspect` shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT, child_env, start_worker
from tests.support.shop import SECRET, Shop
from tests.support.waiting import wait_until

SLOW = """
import time
from pathlib import Path

from events_core import DomainEvent, EventSystem

events = EventSystem("shop")


class OrderPlaced(DomainEvent, event_type="order.placed"):
    email: str


@events.handler(OrderPlaced)
def wait(event: OrderPlaced) -> None:
    while not Path("finish").exists():
        time.sleep(0.02)
"""


def test_a_worker_without_a_coordination_redis_ends_before_it_takes_anything(tmp_path: Path) -> None:
    """It could store no retry and no dead letter: every delivery would fail, be acknowledged, and be lost."""
    shop = Shop.at(tmp_path, "amqp://nobody:nothing@127.0.0.1:1//")
    worker = start_worker("shop:events", env=shop.env, cwd=tmp_path, ready=False)
    worker.wait_for_log("Unrecoverable error: .*EVENTS_REDIS_URL is not set: set it to the Redis")
    assert worker.wait() == 1  # a supervisor that restarts what failed sees it
    assert "Connected to" not in worker.log


def test_inspect_shows_what_runs_without_its_payload(tmp_path: Path, redis_url: str) -> None:
    shop = Shop.at(tmp_path, redis_url, source=SLOW)
    worker = start_worker("shop:events", env=shop.env, cwd=tmp_path)
    _run(shop, "-c", f"import shop; shop.events.emit(shop.OrderPlaced(email={SECRET!r}))")

    def active() -> str:
        return _run(shop, "-m", "celery", "-A", "events_worker", "inspect", "active", "--json")

    shown = wait_until(lambda: "shop.wait" in (text := active()) and text, what="the handler among the active tasks")
    (tasks,) = json.loads(str(shown)).values()
    assert str(tasks[0]["args"]).startswith("order.placed ")
    assert SECRET not in str(shown)
    (tmp_path / "finish").touch()
    worker.wait_for_log(r"shop\.wait\[.*succeeded")
    assert SECRET not in worker.log


def _run(shop: Shop, *args: str) -> str:
    ran = subprocess.run(
        [sys.executable, *args],
        env=child_env(shop.env) | {"PYTHONPATH": f"{shop.folder}:{ROOT}"},
        cwd=shop.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout
