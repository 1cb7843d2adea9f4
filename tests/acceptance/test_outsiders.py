"""docs/outside.md: programs without this library, exactly as the page shows them, beside a real shop."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.processes import ROOT, Process, start, start_worker
from tests.support.redis_server import connect
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

PAGE = ROOT / "docs" / "outside.md"
FILES = {block.file: block.code for block in markdown.blocks(PAGE) if block.file}
OUTSIDERS = {name: code for name, code in FILES.items() if name != "shop.py"}
UUID = "[0-9a-f]{8}-[0-9a-f-]{27}"


class Town:
    """The shop, which uses the library, and programs beside it, each saved as the page says."""

    def __init__(self, folder: Path, broker: str, broker_url: str, redis_url: str) -> None:
        for name, code in FILES.items():
            (folder / name).write_text(code)
        self._folder = folder
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # where `python` is this one
        self._urls = {"PATH": path, "RABBITMQ_URL": broker_url, "REDIS_URL": redis_url.replace("//:", "//default:")}
        self._shop = {
            "PATH": path,
            "EVENTS_BROKER_URL": broker_url,
            "EVENTS_REDIS_URL": redis_url,
            "SHOP_BROKER": broker,
        }

    def run(self, name: str) -> Process:
        """A program of the page: the shop with its settings, the others without the library on their path."""
        command = f"{'python' if name.endswith('.py') else 'bash'} {name}"
        if name == "shop.py":
            return start(["bash", "-c", f"exec {command}"], name=name, env=self._shop, cwd=self._folder)
        alone = ["env", "-u", "PYTHONPATH", "bash", "-c", f"exec {command}"]
        return start(alone, name=name, env=self._urls, cwd=self._folder)

    def run_to_its_end(self, name: str) -> str:
        """What the program printed."""
        ran = self.run(name)
        assert ran.wait() == 0, ran.log
        return ran.log

    def worker(self) -> Process:
        """The shop's worker."""
        return start_worker("shop", env=self._shop, cwd=self._folder)


@pytest.mark.parametrize("name", OUTSIDERS)
def test_they_do_not_use_the_library(name: str) -> None:
    assert "events_core" not in OUTSIDERS[name]
    assert "kombu" not in OUTSIDERS[name]


def test_pika_reads(amqp_url: str, redis_url: str, tmp_path: Path) -> None:
    """A queue that pika has declared and bound gets every event, those of a time when nobody listened too."""
    town = Town(tmp_path, "ExchangeBroker", amqp_url, redis_url)
    billing = town.run("billing.py")
    billing.wait_for_log("^listening$")
    town.run_to_its_end("shop.py")
    _wait_for_orders(billing)
    billing.kill9()
    town.run_to_its_end("shop.py")
    _wait_for_orders(town.run("billing.py"))


def test_pika_publishes(amqp_url: str, redis_url: str, tmp_path: Path) -> None:
    """Refused while nobody is bound; then it reaches the subscriber in the worker."""
    town = Town(tmp_path, "ExchangeBroker", amqp_url, redis_url)
    early = town.run("bank.py")
    assert early.wait() != 0
    assert "UnroutableError" in early.log
    worker = town.worker()

    def heard() -> bool:
        return town.run("bank.py").wait() == 0

    wait_until(heard, 30, "the shop to bind its queue")
    worker.wait_for_log("order 1: 1999 cents")


def test_redis_py_reads_the_stream(redis_url: str, tmp_path: Path) -> None:
    """A consumer group gets every event once it is made, those of a time when its consumer was away too."""
    town = Town(tmp_path, "RedisStreamBroker", redis_url, redis_url)
    warehouse = town.run("warehouse.py")
    warehouse.wait_for_log("^listening$")
    town.run_to_its_end("shop.py")
    _wait_for_orders(warehouse)
    warehouse.kill9()
    town.run_to_its_end("shop.py")
    _wait_for_orders(town.run("warehouse.py"))
    with connect(redis_url) as client:
        wait_until(lambda: client.xpending("orders", "warehouse")["pending"] == 0, what="all to be acknowledged")


def test_redis_cli_adds_to_the_stream(redis_url: str, tmp_path: Path) -> None:
    """XADD by hand reaches the subscriber in the worker; the same id again is the same event."""
    town = Town(tmp_path, "RedisStreamBroker", redis_url, redis_url)
    worker = town.worker()
    with connect(redis_url) as client:
        wait_until(lambda: client.exists("payments") and client.xinfo_groups("payments"), what="the shop's group")
        for _ in range(2):
            assert re.search(r"\d+-\d+", town.run_to_its_end("xadd.sh"))
        worker.wait_for_log("order 2: 1999 cents")
        # nothing unacknowledged, nothing unread, nothing left to run: the second was heard as well
        wait_until(lambda: _is_read(client.xinfo_groups("payments")[0], client.xlen("payments")), what="both read")
        wait_until(lambda: client.xlen("stream:shop.events") == 0, what="every delivery to be done")
    assert worker.log.count("order 2: 1999 cents") == 1


def test_redis_cli_hears_pubsub(redis_url: str, tmp_path: Path) -> None:
    """PSUBSCRIBE hears every event, in the classic format."""
    town = Town(tmp_path, "RedisPubSubBroker", redis_url, redis_url)
    listening = town.run("psubscribe.sh")
    with connect(redis_url) as client:
        wait_until(lambda: client.pubsub_numpat() == 1, what="redis-cli to subscribe")
    town.run_to_its_end("shop.py")
    wait_until(lambda: len(_heard(listening)) == 3, what="three events")
    assert [message["payload"]["number"] for message in _heard(listening)] == [1, 2, 3]
    first = _heard(listening)[0]
    assert (first["message_type"], first["message_name"]) == ("notification_event", "order.confirmed")
    assert f"python_diator_channel:notification_event:{first['message_id']}" in listening.log


def test_redis_cli_publishes(redis_url: str, tmp_path: Path) -> None:
    """PUBLISH by hand reaches the subscriber in the worker, which is one that heard it."""
    town = Town(tmp_path, "RedisPubSubBroker", redis_url, redis_url)
    worker = town.worker()
    with connect(redis_url) as client:
        wait_until(lambda: client.pubsub_numpat() > 0, what="the shop to listen")
    assert re.search(r"^(\(integer\) )?1$", town.run_to_its_end("publish.sh"), re.M)
    worker.wait_for_log("order 3: 1999 cents")


def _wait_for_orders(process: Process) -> None:
    """Until the program has told of the shop's three orders, by id and number."""
    for number in (1, 2, 3):
        process.wait_for_log(rf"^order\.confirmed {UUID} {number}$")


def _is_read(group: dict[str, int], length: int) -> bool:
    return group["pending"] == 0 and group.get("entries-read", length) == length


def _heard(listening: Process) -> list[dict[str, dict[str, object]]]:
    return [json.loads(found) for found in re.findall(r'^(?:\d\) )?"?(\{.*\})"?$', listening.log, re.M)]
