"""`events check` and `events map`, and what the checks learn from real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import processes
from tests.support.finding import find
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, connect, has_functions
from tests.support.shop import SOURCE, Shop
from tests.support.waiting import wait_until

PASSWORD = {"EVENTS_FLOWER_PASSWORD": "correct-horse-battery"}


def found(shop: Shop, level: str) -> list[str]:
    return [finding["text"] for finding in shop.json("check", **PASSWORD)["findings"] if finding["level"] == level]


class TestCheck:
    def test_all_is_well(self, tmp_path: Path, redis_url: str) -> None:
        shop = Shop.at(tmp_path, redis_url)
        shown = shop.json("check", "--deploy", **PASSWORD)
        assert (shown["ok"], shown["findings"], shown["queues"]) == (True, [], ["mail", "shop.events"])
        assert {
            "event_type": "order.placed",
            "version": 1,
            "kind": "domain_event",
            "class": "shop.OrderPlaced",
        } in shown["event_types"]
        charge = next(handler for handler in shown["handlers"] if handler["name"] == "shop.Charge")
        assert charge == {
            "name": "shop.Charge",
            "event": "order.placed",
            "queue": "shop.events",
            "mode": "sync",
            "timeout": None,
            "retry": None,
        }
        printed = shop.events("check", "--deploy", env=PASSWORD)
        assert printed.returncode == 0
        assert "0 findings" in printed.stdout

    def test_warnings_do_not_fail_it_errors_do(self, tmp_path: Path, redis_url: str) -> None:
        odd = SOURCE + "\n@events.handler('oder.*')\ndef odd(event) -> None: ...\n"
        shop = Shop.at(tmp_path, redis_url, source=odd)
        assert "fits no known domain event" in found(shop, "warning")[0]
        needy = "\n@events.handler(OrderPlaced)\nclass Needy(Charge):\n    def __init__(self, stock) -> None: ...\n"
        (tmp_path / "shop.py").write_text(SOURCE + needy)
        ran = shop.events("check")
        assert ran.returncode == 1
        assert "error: shop.Needy cannot run: Needy: its parameter 'stock' has no annotation" in ran.stdout

    def test_the_embedded_redis_fails_a_deployment_and_is_not_started(self, tmp_path: Path) -> None:
        shop = Shop.at(tmp_path, "embedded")
        assert shop.events("check", env=PASSWORD).returncode == 0
        ran = shop.events("check", "--deploy", env=PASSWORD)
        assert ran.returncode == 1
        assert "deploy: the broker is the embedded Redis" in ran.stdout
        assert not (tmp_path / "data").exists()

    def test_servers_that_are_down_fail_a_deployment(self, tmp_path: Path) -> None:
        shop = Shop.at(tmp_path, "amqp://shop:hidden@127.0.0.1:1//", "redis://:hidden@127.0.0.1:1/0")
        texts = found(shop, "deploy")
        assert [text.split(" cannot be reached")[0] for text in texts] == [
            "the coordination Redis redis://:***@127.0.0.1:1/0",
            "the broker amqp://shop:***@127.0.0.1:1//",
        ]
        assert shop.events("check", "--deploy", env=PASSWORD).returncode == 1

    def test_a_good_rabbitmq_says_nothing_and_a_wrong_password_does(
        self, tmp_path: Path, amqp_url: str, redis_url: str
    ) -> None:
        assert found(Shop.at(tmp_path, amqp_url, redis_url), "deploy") == []
        wrong = amqp_url.replace("@", "x@")
        [text] = found(Shop.at(tmp_path, wrong, redis_url), "deploy")
        assert "ACCESS_REFUSED" in text
        assert wrong not in text

    def test_a_redis_that_may_lose_what_it_confirmed(self, tmp_path: Path, own_redis_server: RedisServer) -> None:
        with own_redis_server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("appendonly", "no")
        evicts, forgets = found(Shop.at(tmp_path, own_redis_server.url()), "deploy")
        assert "may evict what is confirmed (maxmemory-policy allkeys-lru)" in evicts
        assert "set appendonly yes" in forgets

    def test_a_replica(self, tmp_path: Path, own_redis_server: RedisServer) -> None:
        with own_redis_server.client() as client:
            client.replicaof("127.0.0.1", "1")
            [text] = found(Shop.at(tmp_path, own_redis_server.url()), "deploy")
        assert "is a replica" in text

    def test_a_cluster(self, tmp_path: Path, own_redis_server: RedisServer) -> None:
        binary = find("redis-server", "redis-server")
        assert binary is not None
        # by itself it listens on its port + 10,000 too, which an outgoing connection of anybody's may have
        port, bus = free_port(), free_port()
        options = f"--bind 127.0.0.1 --port {port} --cluster-enabled yes --appendonly yes"
        if has_functions(own_redis_server.version):
            options += f" --cluster-port {bus}"  # which a Redis before 7 does not let us choose
        processes.start([binary.binary, *options.split(), "--dir", tmp_path], cwd=tmp_path)
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: answers(url), what="the cluster's node")
        assert any("Redis Cluster mode" in text for text in found(Shop.at(tmp_path, url), "deploy"))

    def test_a_worker_says_once_what_the_servers_lack(self, tmp_path: Path, own_redis_server: RedisServer) -> None:
        with own_redis_server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        worker = Shop.at(tmp_path, own_redis_server.url()).worker()
        worker.wait_for_log("WARNING.*may evict what is confirmed")


def answers(url: str) -> bool:
    try:
        with connect(url) as client:
            return bool(client.ping())
    except OSError:
        return False
    except Exception as error:
        raise AssertionError(str(error)) from error


class TestMap:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Shop:
        return Shop.at(tmp_path, "redis://127.0.0.1:1/0")

    def test_handlers_and_what_follows(self, shop: Shop) -> None:
        confirmed, placed = shop.json("map")
        assert (placed["module"], placed["event_type"], placed["version"]) == ("shop", "order.placed", 1)
        follows = {handler["name"]: handler["follow_ups"] for handler in placed["handlers"]}
        assert follows == {
            "shop.receipt": [],
            "shop.reserve": [],
            "shop.Charge": [{"event_type": "order.confirmed", "version": 1}],
        }
        assert [handler["name"] for handler in confirmed["handlers"]] == ["shop.tell"]

    def test_circular_chains_are_marked(self, shop: Shop) -> None:
        confirmed, placed = shop.json("map")
        assert placed["circular"] == ["order.placed", "order.confirmed", "order.placed"]
        assert confirmed["circular"] == ["order.confirmed", "order.placed", "order.confirmed"]
        (shop.folder / "shop.py").write_text(SOURCE.replace("-> OrderPlaced | None", "-> None"))
        assert [event["circular"] for event in shop.json("map")] == [None, None]

    def test_for_people(self, shop: Shop) -> None:
        printed = shop.events("map").stdout
        assert "order.placed v1  circular: order.placed > order.confirmed > order.placed" in printed
        assert "> order.confirmed v1" in printed
