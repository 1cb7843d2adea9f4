"""`events status`, on Redis and on RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery

from tests.support import processes
from tests.support.proxy import Proxy
from tests.support.shop import Shop
from tests.support.waiting import wait_until

# Both servers by name: those that only broker_url asks for start within the first test, and are ended with it.
pytestmark = [pytest.mark.usefixtures("redis_server", "rabbitmq_server"), pytest.mark.apps]


@pytest.fixture
def shop(tmp_path: Path, broker_url: str, redis_url: str) -> Shop:
    return Shop.at(tmp_path, broker_url, redis_url)


@pytest.mark.new_processes  # the command as people run it, which has to import for itself all that it needs
def test_queues_that_were_never_declared_hold_nothing(shop: Shop) -> None:
    nothing = {"queues": {"mail": 0, "shop.events": 0}, "scheduled": 0, "dead": 0}
    assert shop.json("status") == {**nothing, "parked": 0, "paused": [], "workers": [], "unconsumed": []}
    assert "workers: none answered" in shop.events("status").stdout


def test_what_waits_and_who_works(shop: Shop) -> None:
    shop.place_orders(2)
    assert shop.json("status")["queues"] == {"mail": 0, "shop.events": 6}
    shop.worker("--hostname", "one@shop")

    def settled() -> bool:
        shown = shop.json("status")
        return (shown["queues"]["shop.events"], shown["scheduled"], shown["dead"]) == (0, 0, 2)

    wait_until(settled, 60, "two dead letters and nothing waiting")
    wait_until(lambda: shop.json("status")["workers"] == ["one@shop"], what="it to answer within a second")
    wait_until(lambda: "one@shop" in shop.events("status").stdout, what="it to answer within a second")


def test_a_worker_of_another_system_is_none_of_its_own(shop: Shop) -> None:
    """It shares the broker, and answers too."""
    stranger = Celery("stranger", broker=shop.env["EVENTS_BROKER_URL"], set_as_current=False)
    command = ["-m", "celery", "-b", shop.env["EVENTS_BROKER_URL"], "worker", "-P", "solo", "-n", "one@stranger"]
    worker = processes.start_python(*command, "-Q", "strange", cwd=shop.folder)
    try:
        with stranger.connection_for_write() as connection:
            ask = stranger.control.inspect(timeout=1.0, connection=connection).ping
            wait_until(ask, 30, "the other worker to answer")
        assert shop.json("status")["workers"] == []
    finally:
        worker.kill9()


def test_a_queue_that_no_worker_takes_from(shop: Shop) -> None:
    """The commonest slip with -Q: deliveries wait there, and nothing is wrong anywhere."""
    shop.place_orders(1)
    shop.worker("-Q", "mail")
    wait_until(lambda: shop.json("status")["workers"], 30, "the worker to answer")
    wait_until(lambda: shop.json("status")["unconsumed"] == ["shop.events"], what="it to answer within a second")
    advice = "shop.events: no worker takes from it: start one with -Q shop.events, or without -Q"
    wait_until(lambda: advice in shop.events("status").stdout, what="it to answer within a second")


@pytest.mark.parametrize("url", ["redis://:hidden@127.0.0.1:1/0", "amqp://shop:hidden@127.0.0.1:1//"])
def test_a_broker_that_is_down(tmp_path: Path, redis_url: str, url: str) -> None:
    ran = Shop.at(tmp_path, url, redis_url).events("status", "--json")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "the broker" in ran.stderr
    assert "does not answer" in ran.stderr
    assert "hidden" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_broker_that_swallows_everything(tmp_path: Path, broker_url: str, redis_url: str) -> None:
    parts = urlsplit(broker_url)
    assert parts.port is not None
    with Proxy(parts.port) as proxy:
        proxy.blackhole()
        through = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
        ran = Shop.at(tmp_path, through, redis_url).events("status")
    assert ran.returncode == 1
    assert "does not answer" in ran.stderr
    assert "Traceback" not in ran.stderr
