"""The brokers that the contract suite runs on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from events_core.testing.broker_contract import BrokerContract
from tests.contract.brokers import Broker
from tests.contract.promises import BROKERS
from tests.contract.redis_forms import RedisForms
from tests.contract.workers import Station
from tests.support import processes, servers

_numbers = itertools.count(1)


@pytest.fixture(params=list(BROKERS))
def broker(request: pytest.FixtureRequest) -> Broker:
    """An empty broker; `promised` chooses the kinds that a test runs on."""
    kind: str = request.param
    if kind == "rabbitmq":
        return Broker(kind, request.getfixturevalue("amqp_url"))
    return Broker.on_redis(kind, request.getfixturevalue("redis_url"))


@pytest.fixture
def station(broker: Broker, tmp_path: Path) -> Iterator[Station]:
    """An application on that broker, with no worker yet."""
    station = Station(broker, tmp_path)
    yield station
    station.close()


@pytest.fixture
def own_station(own_redis_server: servers.RedisServer, tmp_path: Path) -> Iterator[Station]:
    """An application on streams of a Redis that may be killed, cut off and emptied."""
    station = Station(Broker.on_redis("streams", own_redis_server.url()), tmp_path)
    yield station
    station.close()


@pytest.fixture(scope="module", params=list(BROKERS))
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """An application with one worker, which the tests of a module share: 2 processes, 8 messages, with events."""
    mark = processes.started_so_far()
    kind: str = request.param
    if kind == "rabbitmq":
        rabbit, vhost = request.getfixturevalue("rabbitmq_server"), f"standing-{next(_numbers)}"
        broker, close = Broker(kind, rabbit.add_vhost(vhost)), lambda: rabbit.drop_vhost(vhost)
    else:
        server = servers.own_redis()
        broker, close = Broker.on_redis(kind, server.url()), server.close
    station = Station(broker, tmp_path_factory.mktemp(kind))
    worker = station.start(pool="prefork", extra=("-E",))
    processes.keep_since(mark)
    yield station
    station.close()
    worker.kill9()
    close()


@pytest.fixture(scope="session")
def forms() -> Iterator[RedisForms]:
    """A Redis that can be reached in every way."""
    mark = processes.started_so_far()
    started = RedisForms.start()
    processes.keep_since(mark)
    yield started
    started.close()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each case by the server that its broker is, as tests/support/fixtures.py does for its fixtures.

    Workers on brokers that are not ours have a target of their own: only others' versions can change those results. So
    have the message brokers' tests that restart a server, which take most of the time.
    """
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        kind = parameters.get("broker") or parameters.get("standing")
        if kind in BROKERS:
            item.add_marker("rabbitmq" if kind == "rabbitmq" else "redis")
        fixtures = getattr(item, "fixturenames", ())
        if "own_server" in fixtures and getattr(item, "cls", None) is not None and issubclass(item.cls, BrokerContract):
            item.add_marker("contract")  # a message broker's server is ended and started again
        if kind in ("stock", "rabbitmq") and {"station", "standing"} & set(fixtures):
            item.add_marker("contract")
