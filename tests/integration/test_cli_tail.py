"""`events tail`, on real message brokers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from events_core.brokers import ExchangeBroker, MessageBroker, RedisPubSubBroker, RedisStreamBroker
from events_core.envelope import Envelope
from events_core.events import NotificationEvent
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.shop import SECRET, Shop
from tests.support.waiting import wait_until

SOURCE = f"""
import os

from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker, InMemoryBroker, RedisPubSubBroker, RedisStreamBroker

make = globals()[os.environ["SHOP_MESSAGE_BROKER"]]
url = os.environ.get("SHOP_MESSAGE_BROKER_URL")
events = EventSystem("shop", message_broker=make(url) if url else make())


class Confirmed(NotificationEvent, event_type="tail.confirmed", topic="orders"):
    email: str


class Shipped(NotificationEvent, event_type="tail.shipped"):
    email: str = {SECRET!r}


@events.subscriber(events=[Confirmed], topic="elsewhere")
def hear(event: Confirmed) -> None: ...
"""


class Told(NotificationEvent, event_type="tail.confirmed", topic="orders"):
    """What the application calls Confirmed."""

    email: str = SECRET


class Sent(NotificationEvent, event_type="tail.shipped"):
    email: str = SECRET


BROKERS: dict[str, type[Any]] = {
    "exchange": ExchangeBroker,
    "pubsub": RedisPubSubBroker,
    "stream": RedisStreamBroker,
}


@pytest.fixture(params=["rabbitmq exchange", "redis exchange", "redis pubsub", "redis stream"])
def broker(request: pytest.FixtureRequest) -> Iterator[MessageBroker]:
    server, kind = request.param.split()
    url = request.getfixturevalue("amqp_url" if server == "rabbitmq" else "redis_url")
    made = BROKERS[kind](url)
    made.url = url
    yield made
    made.close()


def shop_with(folder: Path, broker: str, url: str | None = None) -> Shop:
    shop = Shop.at(folder, "redis://localhost:1/0", source=SOURCE)
    return Shop(folder, shop.env | {"SHOP_MESSAGE_BROKER": broker} | ({"SHOP_MESSAGE_BROKER_URL": url} if url else {}))


@pytest.fixture
def shop(tmp_path: Path, broker: Any) -> Shop:
    return shop_with(tmp_path, type(broker).__name__, broker.url)


def publish(broker: MessageBroker, event: NotificationEvent, topic: str) -> NotificationEvent:
    broker.publish([broker.message(event, Envelope.of(event), topic)], 5.0)
    return event


@contextmanager
def tailing(shop: Shop, *args: str) -> Iterator[Process]:
    """`events tail ARGS`, listening; it must end in order by Ctrl-C."""
    process = shop.start("tail", *args)
    process.wait_for_log("^listening to")
    yield process
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert "Traceback" not in process.log


def shown(process: Process, count: int) -> list[dict[str, Any]]:
    """So many lines of JSON."""

    def lines() -> list[dict[str, Any]]:
        whole = process.log[: process.log.rfind("\n") + 1]
        found = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        assert len(found) >= count
        return found

    return wait_until(lines, what=f"{count} lines of JSON")


def test_what_comes_is_shown_and_payloads_only_if_asked_for(shop: Shop, broker: MessageBroker) -> None:
    with tailing(shop, "--json") as process, tailing(shop) as pretty, tailing(shop, "--payload") as open_:
        event = publish(broker, Told(), "orders")
        other = publish(broker, Sent(), "shop")
        found = {one["id"]: one for one in shown(process, 2)}
        assert set(found) == {str(event.event_id), str(other.event_id)}
        one = found[str(event.event_id)]
        assert (one["event_type"], one["kind"], one["error"]) == ("tail.confirmed", "notification_event", None)
        assert "payload" not in one
        for reader in (pretty, open_):
            reader.wait_for_log(f"tail.confirmed.*{event.event_id}")
            reader.wait_for_log(f"tail.shipped.*{other.event_id}")
        open_.wait_for_log(SECRET)
        assert SECRET not in process.log + pretty.log


def test_only_what_was_asked_for(shop: Shop, broker: MessageBroker) -> None:
    with tailing(shop, "--json", "--payload", "--type", "*.shipped") as process:
        publish(broker, Told(), "orders")
        event = publish(broker, Sent(), "shop")
        (one,) = shown(process, 1)
        assert (one["id"], one["payload"]) == (str(event.event_id), {"email": SECRET})


def test_only_one_topic(tmp_path: Path, amqp_url: str) -> None:
    broker = ExchangeBroker(amqp_url)
    with tailing(shop_with(tmp_path, "ExchangeBroker", amqp_url), "--json", "--topic", "shop") as process:
        publish(broker, Told(), "orders")
        event = publish(broker, Sent(), "shop")
        (one,) = shown(process, 1)
        assert (one["id"], one["topic"]) == (str(event.event_id), "shop")
    broker.close()


def test_topics_are_those_of_events_and_of_subscribers(tmp_path: Path, redis_url: str) -> None:
    with tailing(shop_with(tmp_path, "RedisStreamBroker", redis_url)) as process:
        assert "listening to elsewhere, orders, shop;" in process.log


def test_what_cannot_be_decoded_is_shown_as_such(tmp_path: Path, redis_url: str) -> None:
    """And the next event is."""
    shop = shop_with(tmp_path, "RedisStreamBroker", redis_url)
    broker = RedisStreamBroker(redis_url)
    with tailing(shop, "--json") as process, tailing(shop, "--payload") as pretty:
        with redis.Redis.from_url(redis_url) as client:
            client.xadd("orders", {"payload": f"no json: {SECRET}"})
        publish(broker, Told(), "orders")
        garbage, event = shown(process, 2)
        assert garbage["error"]
        assert event["error"] is None
        assert SECRET not in process.log
        pretty.wait_for_log(r"^undecodable")
        pretty.wait_for_log(f"no json: {SECRET}")
    broker.close()


def test_it_leaves_nothing_behind(tmp_path: Path, amqp_url: str, rabbitmq_server: Any) -> None:
    broker = ExchangeBroker(amqp_url)
    vhost = urlsplit(amqp_url).path.removeprefix("/")
    with tailing(shop_with(tmp_path, "ExchangeBroker", amqp_url)):
        wait_until(lambda: rabbitmq_server.queues(vhost), what="its queue")
    wait_until(lambda: not rabbitmq_server.queues(vhost), what="its queue to be gone")
    broker.close()


def through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()


def test_it_comes_back_when_the_broker_does(tmp_path: Path, broker: Any) -> None:
    port = urlsplit(broker.url).port
    assert port is not None
    with Proxy(port) as proxy:
        shop = shop_with(tmp_path, type(broker).__name__, through(broker.url, proxy))
        with tailing(shop, "--json") as process:
            publish(broker, Told(), "orders")
            shown(process, 1)
            proxy.cut()
            process.wait_for_log("is lost, trying again")
            proxy.heal()
            process.wait_for_log("^listening again")
            event = publish(broker, Told(), "orders")
            wait_until(lambda: str(event.event_id) in process.log, what="the event after the break")


@pytest.mark.parametrize("url", ["amqp://shop:hidden@127.0.0.1:1//", "redis://:hidden@127.0.0.1:1/0"])
def test_a_broker_that_is_down(tmp_path: Path, url: str) -> None:
    ran = shop_with(tmp_path, "ExchangeBroker", url).events("tail")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "does not answer" in ran.stderr
    assert "hidden" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_events_in_memory_cannot_be_heard(tmp_path: Path) -> None:
    ran = shop_with(tmp_path, "InMemoryBroker").events("tail")
    assert (ran.returncode, "stay in the process" in ran.stderr) == (1, True)
