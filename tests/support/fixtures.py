"""The fixtures that every tier of the tests shares."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator

import pytest

from tests.support import forking, processes, servers

_numbers = itertools.count(1)

INTEGRATION = processes.ROOT / "tests" / "integration"
NEEDS = {"redis": ("redis_server", "own_redis_server"), "rabbitmq": ("rabbitmq_server", "own_rabbitmq_server")}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the servers that their fixtures start, so that `-m "not rabbitmq"` needs no marks by hand."""
    for item in items:
        for marker, fixtures in NEEDS.items():
            if any(name in getattr(item, "fixturenames", ()) for name in fixtures):
                item.add_marker(marker)


@pytest.hookimpl(tryfirst=True)  # before the fixtures of any scope
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Commands may be forks in the tests of what they do; the other folders are about how they start and end too."""
    forking.allowed = INTEGRATION in item.path.parents and item.get_closest_marker("new_processes") is None


@pytest.fixture(autouse=True)
def _end_processes() -> Iterator[None]:
    """Kills what a test started, servers of wider scope excepted."""
    mark = processes.started_so_far()
    yield
    processes.end_since(mark)


@pytest.fixture(scope="module", autouse=True)
def _end_processes_of_the_module() -> Iterator[None]:
    """Kills the workers that a module's tests share: their clocks would go on writing into other tests' Redis."""
    mark = processes.started_so_far()
    yield
    processes.end_since(mark)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer | servers.GivenRedis]:
    """The Redis of the run. To be neither killed nor restarted: see own_redis_server."""
    mark = processes.started_so_far()  # a test may ask for it while it runs, by broker_url
    server = servers.shared_redis()
    processes.keep_since(mark)
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[servers.RabbitServer | servers.GivenRabbit]:
    """The RabbitMQ of the run. To be neither killed nor restarted: see own_rabbitmq_server."""
    mark = processes.started_so_far()  # a test may ask for it while it runs, by broker_url
    server = servers.shared_rabbitmq()
    processes.keep_since(mark)
    yield server
    server.close()


@pytest.fixture
def own_redis_server() -> Iterator[servers.RedisServer]:
    """A Redis of this test alone: kill(), restart(), stop(), start()."""
    server = servers.own_redis()
    yield server
    server.close()


@pytest.fixture
def own_rabbitmq_server() -> Iterator[servers.RabbitServer]:
    """A RabbitMQ of this test alone: kill(), restart(), stop(), start(). About 6 s to start."""
    server = servers.own_rabbitmq()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: servers.RedisServer | servers.GivenRedis) -> str:
    """URL of an empty database."""
    return redis_server.empty()


@pytest.fixture
def amqp_url(rabbitmq_server: servers.RabbitServer | servers.GivenRabbit) -> Iterator[str]:
    """URL of an empty vhost of this test's own."""
    vhost = f"test-{next(_numbers)}"
    yield rabbitmq_server.add_vhost(vhost)
    rabbitmq_server.drop_vhost(vhost)


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    ]
)
def broker_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty broker: the test runs once on Redis (the database of redis_url) and once on RabbitMQ."""
    url: str = request.getfixturevalue("redis_url" if request.param == "redis" else "amqp_url")
    return url


@pytest.fixture
def system_name() -> str:
    """A name for an EventSystem that no other test or run uses, and so queues and keys of its own."""
    return f"t{next(_numbers)}x{secrets.token_hex(3)}"
