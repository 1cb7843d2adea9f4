"""`events flower`: what it refuses, what it shows, what it keeps."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.support.dashboard import PASSWORD, Dashboard, start_dashboard, wait_for_states
from tests.support.ports import free_port
from tests.support.processes import start_python
from tests.support.redis_server import RedisServer, connect
from tests.support.shop import SECRET, Shop

STATES = {"shop.receipt": "SUCCESS", "shop.reserve": "SUCCESS", "shop.Charge": "FAILURE"}
PAGES = ["/", "/workers", "/tasks", "/broker", "/api/tasks", "/api/workers"]


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Shop:
    return Shop.at(tmp_path, redis_url)


class TestRefusals:
    def test_no_password(self, shop: Shop) -> None:
        ran = shop.events("flower")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "export EVENTS_FLOWER_PASSWORD=$(openssl rand -hex 16)" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_an_option_that_flower_would_pass_over(self, shop: Shop) -> None:
        for option in ("--no_such=1", "stray", "-x"):
            ran = shop.events("flower", option, env={"EVENTS_FLOWER_PASSWORD": PASSWORD})
            assert ran.returncode == 1
            assert f"{option} is no option of Flower" in ran.stderr

    def test_flower_is_not_installed(self, shop: Shop) -> None:
        (shop.folder / "flower").mkdir()  # the working directory comes first on the path
        (shop.folder / "flower/__init__.py").write_text("raise ModuleNotFoundError('no flower', name='flower')")
        ran = shop.events("flower", env={"EVENTS_FLOWER_PASSWORD": PASSWORD})
        assert ran.returncode == 1
        assert "pip install 'celery-events[flower]'" in ran.stderr


class TestAccess:
    def test_nothing_without_the_password(self, shop: Shop) -> None:
        dashboard = start_dashboard(shop)
        for page in PAGES:
            assert dashboard.status(page, password=None) == 401, page
            assert dashboard.status(page, password="wrong") == 401, page
            assert dashboard.status(page) == 200, page

    def test_a_password_left_over_from_elsewhere_does_not_replace_it(self, shop: Shop) -> None:
        shop.env["FLOWER_BASIC_AUTH"] = "events:left-over"
        dashboard = start_dashboard(shop)
        assert dashboard.status("/", password="left-over") == 401
        assert dashboard.status("/") == 200

    @pytest.mark.new_processes  # a fork's line in the process list is that of its server
    def test_it_listens_on_loopback_and_the_process_list_has_no_password(self, shop: Shop) -> None:
        dashboard = start_dashboard(shop)
        process = Path(f"/proc/{dashboard.process.pid}")
        assert PASSWORD not in (process / "cmdline").read_text()
        assert PASSWORD not in dashboard.process.log
        assert listens_on(dashboard) == {"0100007F"}  # 127.0.0.1

    def test_further_options_pass_through(self, shop: Shop) -> None:
        dashboard = start_dashboard(shop, "--tasks_columns=name,state")
        page = dashboard.page("/tasks")
        assert 'data-column="state"' in page
        assert 'data-column="uuid"' not in page


class TestContents:
    def test_states_names_and_arguments_but_no_payload(self, shop: Shop) -> None:
        dashboard = start_dashboard(shop)
        shop.worker("-E")
        [event_id] = shop.place_orders(1)
        tasks = wait_for_states(dashboard, STATES)
        assert {task["args"] for task in tasks.values()} == {f"order.placed {event_id[:8]}…"}
        assert tasks["shop.reserve"]["retries"] == 1
        assert tasks["shop.Charge"]["exception"].startswith("DeadLettered('exhausted: ValueError')")
        pages = [*PAGES, *(f"/task/{task['uuid']}" for task in tasks.values())]
        for page in pages:
            assert SECRET not in dashboard.page(page), page
        assert "shop.events" in dashboard.page("/broker")

    def test_history_is_kept_for_this_user_alone(self, shop: Shop) -> None:
        first = start_dashboard(shop)
        shop.worker("-E")
        shop.place_orders(1)
        before = wait_for_states(first, STATES)
        first.process.terminate()
        again = start_dashboard(shop)
        assert {task["uuid"] for task in again.tasks().values()} == {task["uuid"] for task in before.values()}
        folder = shop.folder / "data"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.glob("flower.db*"))
        assert files
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def test_on_the_embedded_redis(self, tmp_path: Path) -> None:
        shop = Shop.at(tmp_path, "embedded")
        dashboard = start_dashboard(shop)
        worker = shop.worker("-E")
        shop.place_orders(1)
        wait_for_states(dashboard, STATES)
        worker.terminate()
        shop.place_orders(1)
        assert lengths(dashboard)["shop.events"] == 3
        assert dashboard.process.terminate() == 0  # the last to leave stops the embedded Redis

    def test_on_rabbitmq(self, tmp_path: Path, amqp_url: str, redis_url: str) -> None:
        shop = Shop.at(tmp_path, amqp_url, redis_url)
        dashboard = start_dashboard(shop)
        shop.worker("-E")
        shop.place_orders(1)
        wait_for_states(dashboard, STATES)


class TestQueueLengths:
    """Flower chooses by the URL's scheme how it counts, and does not know ours."""

    def test_of_a_system(self, shop: Shop) -> None:
        dashboard = start_dashboard(shop)
        shop.place_orders(2)
        assert lengths(dashboard) == {"shop.events": 6}

    def test_of_a_system_on_the_stock_transport(self, shop: Shop) -> None:
        shop.env["EVENTS_REDIS_TRANSPORT"] = "stock"
        dashboard = start_dashboard(shop)
        shop.place_orders(2)
        assert lengths(dashboard) == {"shop.events": 6}

    def test_of_any_celery_app(self, tmp_path: Path, redis_url: str) -> None:
        """With a key prefix, priorities, and messages that somebody holds."""
        (tmp_path / "plain.py").write_text(PLAIN)
        with connect(redis_url) as client:
            for _ in range(5):
                client.xadd("their:stream:celery", {"m": "{}"})
            client.xgroup_create("their:stream:celery", "workers", "0")
            [[_, held]] = client.xreadgroup("workers", "host:1:x/1", {"their:stream:celery": ">"}, count=3)
            client.xclaim("their:stream:celery", "workers", "returned", 0, [held[0][0]])
            for _ in range(2):  # less urgent, and read by nobody yet
                client.xadd("their:stream:celery\x06\x163", {"m": "{}"})
        port = free_port()
        options = ["flower", "--address=127.0.0.1", f"--port={port}"]
        env = {"BROKER": streams_url(redis_url), "FLOWER_UNAUTHENTICATED_API": "1"}
        dashboard = Dashboard(port, start_python("-m", "celery", "-A", "plain", *options, cwd=tmp_path, env=env))
        dashboard.wait_until_it_serves()
        assert lengths(dashboard) == {"celery": 5}
        assert "celery</td>" in dashboard.page("/broker")

    def test_the_page_says_so_when_redis_is_down(self, tmp_path: Path, own_redis_server: RedisServer) -> None:
        shop = Shop.at(tmp_path, own_redis_server.url())
        dashboard = start_dashboard(shop)
        own_redis_server.kill()
        assert "No queue data is available" in dashboard.page("/broker")
        dashboard.process.wait_for_log("Unable to get queues")


PLAIN = """
import os
import events_core.transport
from celery import Celery

app = Celery("plain", broker=os.environ["BROKER"])
app.conf.broker_transport_options = {"global_keyprefix": "their:"}
"""


def streams_url(redis_url: str) -> str:
    return redis_url.replace("redis://", "redis-streams://")


def lengths(dashboard: Dashboard) -> dict[str, int]:
    shown = json.loads(dashboard.page("/api/queues/length"))["active_queues"]
    return {queue["name"]: queue["messages"] for queue in shown}


def listens_on(dashboard: Dashboard) -> set[str]:
    """The local addresses, as the kernel writes them, on which something listens at the dashboard's port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{dashboard.process.pid}/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) == dashboard.port:
                found.add(address)
    return found
