"""The examples, as their reader runs them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from examples.shop.journal import open_journal
from tests.support.processes import ROOT, start_python, start_worker
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

QUICKSTART = ROOT / "examples" / "quickstart" / "shop.py"
ORDER = {"sku": "tea", "quantity": 2, "email": "ada@example.com", "card_token": "tok_visa"}


@pytest.fixture
def shop_settings(broker_url: str, redis_url: str, system_name: str) -> dict[str, str | None]:
    """Settings of the example shop on that broker, apart from other tests."""
    queue = f"{system_name}.events"
    return {"EVENTS_BROKER_URL": broker_url, "EVENTS_REDIS_URL": redis_url, "EVENTS_DEFAULT_QUEUE": queue}


def test_the_quickstart_is_short() -> None:
    lines = [line for line in QUICKSTART.read_text().splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_quickstart_in_an_empty_directory(tmp_path: Path) -> None:
    shutil.copy(QUICKSTART, tmp_path)
    env: Mapping[str, str | None] = {"EVENTS_BROKER_URL": "embedded"}
    script = start_python("shop.py", env=env, cwd=tmp_path)
    assert script.wait() == 0, script.log
    assert re.fullmatch(r"emitted order\.placed [0-9a-f-]{36}\s*", script.log)

    # As the README says it: `events worker -A shop`, with no other option.
    worker = start_python("-m", "events_worker.cli", "worker", "-A", "shop", env=env, cwd=tmp_path)
    worker.wait_for_log(r"receipt for order [0-9a-f-]{36}", timeout=60)
    assert worker.terminate() == 0


def test_the_shop_on_each_broker(shop_settings: dict[str, str | None], tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite3"
    env = shop_settings | {"SHOP_JOURNAL": str(journal)}
    web = start_python("-m", "uvicorn", "examples.shop.web:app", "--port", "0", env=env)
    url = web.wait_for_log(r"running on (http://[\d.:]+)")[1]
    assert httpx.get(f"{url}/healthz").json() == {"ok": True}
    assert "order" in httpx.get(url).json()
    assert httpx.post(f"{url}/orders", json=ORDER | {"quantity": 0}).status_code == 422
    answer = httpx.post(f"{url}/orders", json=ORDER)
    assert answer.status_code == 202
    expected = answer.json()["deliveries"]
    assert [name.rpartition(".")[2] for name in sorted(expected)] == ["analytics", "charge", "reserve_stock"]

    start_worker("examples.shop.system", env=env)
    wait_until(lambda: len(done_ids(journal)) == 5, what="order.placed: 3 deliveries, order.paid: 2")
    assert set(expected.values()) <= done_ids(journal)


def test_the_shop_refuses_orders_while_the_broker_is_down(own_redis_server: RedisServer) -> None:
    env = {"EVENTS_BROKER_URL": own_redis_server.url()}
    web = start_python("-m", "uvicorn", "examples.shop.web:app", "--port", "0", env=env)
    address = web.wait_for_log(r"running on (http://[\d.:]+)")[1]
    own_redis_server.kill()
    assert httpx.post(f"{address}/orders", json=ORDER, timeout=30).status_code == 503


def done_ids(journal: Path) -> set[str]:
    connection = open_journal(str(journal))
    try:
        return {row[0] for row in connection.execute("SELECT delivery_id FROM runs WHERE done")}
    finally:
        connection.close()
