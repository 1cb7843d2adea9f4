"""pytest-celery's `celery_setup` around an EventSystem: its nodes are local processes instead of containers.

Its API: https://pytest-celery.readthedocs.io, api/base.py and api/container.py.
"""

from __future__ import annotations

import itertools
import os
import signal as signals
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery, current_app
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
)

from tests.support import processes
from tests.support.broker_queues import kombu_url
from tests.support.waiting import wait_until

# Both servers by name: those that only broker_url asks for start within the first test, and are ended with it.
pytestmark = [pytest.mark.usefixtures("redis_server", "rabbitmq_server"), pytest.mark.apps]

# An application that has a Celery app already. Its tasks for pytest-celery are what `ready(ping=True)` calls.
APP = """
import os, time
import redis
from celery import Celery
from events_core import DomainEvent, EventSystem

app = Celery("shop", broker=os.environ["BROKER_URL"], backend=os.environ["BACKEND_URL"])
app.conf.update(include=["pytest_celery.vendors.worker.tasks"], broker_connection_retry_on_startup=True)
events = EventSystem(os.environ["SYSTEM"], celery=app, redis_url=os.environ["BACKEND_URL"])
seen = redis.Redis.from_url(os.environ["BACKEND_URL"], decode_responses=True)

class OrderPlaced(DomainEvent, event_type="order.placed"):
    number: int

@events.handler(OrderPlaced)
def ship(event: OrderPlaced) -> None:
    seen.rpush("begun", event.number)
    while seen.exists(f"closed:{event.number}"):
        time.sleep(0.01)
    seen.rpush("shipped", event.number)
"""
EMIT = "import sys, shop; shop.events.emit(shop.OrderPlaced(number=int(sys.argv[1])))"

_numbers = itertools.count(1)


class Server:
    """A server that runs already, as a container for pytest-celery. It is not ours to stop."""

    status = "running"

    def __init__(self, url: str) -> None:
        self.celeryconfig = {"url": url, "host_url": url}
        self.id = self.name = url.partition("://")[0]

    def ready(self) -> bool:
        return True

    def logs(self) -> str:
        return ""

    def teardown(self) -> None:
        pass


class LocalWorker:
    """`events worker` as a process of this machine, as a container for pytest-celery: may be killed and restarted."""

    def __init__(self, folder: Path, env: dict[str, str | None], queue: str) -> None:
        self.id = f"{os.getpid()}x{next(_numbers)}"
        self.name = f"shop-{self.id}"
        self._folder, self._env, self._queue = folder, env, queue
        self._start()

    def _start(self) -> None:
        node = ["-n", f"{self.worker_name()}@{self.id}"]
        self.process = processes.start_worker("shop:events", cwd=self._folder, env=self._env, extra=node)

    @property
    def status(self) -> str:
        return "running" if self.process.alive else "exited"

    def worker_name(self) -> str:
        return "shop"

    def worker_queue(self) -> str:
        return self._queue

    def ready(self) -> bool:
        return self.process.alive

    def logs(self) -> str:
        return self.process.log

    def kill(self, signal: str = "SIGKILL") -> None:
        if signal == "SIGKILL":
            self.process.kill9()  # with the process in which it runs suspects
        else:
            self.process.signal(signals.Signals[signal])
            self.process.wait()

    def restart(self, timeout: float) -> None:
        """What `docker restart` does: an orderly end, where there is something to end, and a new start."""
        self.process.terminate(timeout)
        self._start()

    def reload(self) -> None:
        """Reads a container's state anew; ours is always read."""

    def teardown(self) -> None:
        self.process.kill9()


@pytest.fixture
def shop(tmp_path: Path, broker_url: str, redis_url: str, system_name: str) -> dict[str, str | None]:
    """The application in tmp_path; returns the variables that it reads."""
    (tmp_path / "shop.py").write_text(APP)
    return {"BROKER_URL": kombu_url(broker_url), "BACKEND_URL": redis_url, "SYSTEM": system_name}


@pytest.fixture
def celery_broker_cluster(broker_url: str) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(CeleryTestBroker(Server(kombu_url(broker_url))))


@pytest.fixture
def celery_backend_cluster(redis_url: str) -> CeleryBackendCluster:
    return CeleryBackendCluster(CeleryTestBackend(Server(redis_url)))


@pytest.fixture
def celery_worker_cluster(
    tmp_path: Path, shop: dict[str, str | None], system_name: str
) -> Iterator[CeleryWorkerCluster]:
    worker = CeleryTestWorker(LocalWorker(tmp_path, shop, f"{system_name}.events"), app=None)
    yield CeleryWorkerCluster(worker)
    worker.teardown()


@pytest.fixture
def celery_setup_app(
    celery_setup_cls: type[CeleryTestSetup], celery_setup_config: dict[str, str], celery_setup_name: str
) -> Iterator[Celery]:
    """pytest-celery's own, except that other tests do not inherit it as Celery's current app."""
    before = current_app._get_current_object()
    with celery_setup_cls.create_setup_app(celery_setup_config, celery_setup_name) as app:
        yield app
    before.set_current()


@pytest.fixture
def seen(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def emit(tmp_path: Path, shop: dict[str, str | None]) -> Callable[[int], None]:
    """Emits one event from a process of its own; returns when the broker has confirmed it."""

    def run(number: int) -> None:
        emitter = processes.start_python("-c", EMIT, str(number), env=shop, cwd=tmp_path)
        assert emitter.wait() == 0, emitter.log

    return run


def _wait_for(seen: redis.Redis, key: str, numbers: list[str]) -> None:
    wait_until(lambda: seen.lrange(key, 0, -1) == numbers, what=f"{key} to be {numbers}")


def test_the_setup_is_ready(celery_setup: CeleryTestSetup) -> None:
    assert celery_setup.ready(ping=True, control=True, docker=True)
    assert len(celery_setup) == 3
    answers = celery_setup.app.control.ping(timeout=10, limit=1)
    assert answers == [{celery_setup.worker.hostname(): {"ok": "pong"}}]
    registered = celery_setup.app.control.inspect(timeout=10, limit=1).registered()
    assert "shop.ship" in registered[celery_setup.worker.hostname()]


def test_a_delivery_runs(celery_setup: CeleryTestSetup, emit: Callable[[int], None], seen: redis.Redis) -> None:
    emit(1)
    _wait_for(seen, "shipped", ["1"])
    celery_setup.worker.assert_log_exists("shop.ship")


def test_an_event_waits_for_a_worker_that_was_killed(
    celery_setup: CeleryTestSetup, emit: Callable[[int], None], seen: redis.Redis
) -> None:
    emit(1)
    _wait_for(seen, "shipped", ["1"])
    celery_setup.worker.kill()
    assert not celery_setup.worker.ready()
    emit(2)
    celery_setup.worker.restart()
    wait_until(lambda: "2" in seen.lrange("shipped", 0, -1), what="the second")  # killed unacknowledged, 1 comes again


def test_a_delivery_interrupted_by_sigkill_runs_again(
    celery_setup: CeleryTestSetup, emit: Callable[[int], None], seen: redis.Redis
) -> None:
    seen.set("closed:1", 1)
    emit(1)
    _wait_for(seen, "begun", ["1"])
    celery_setup.worker.kill()
    seen.delete("closed:1")
    celery_setup.worker.restart()
    _wait_for(seen, "shipped", ["1"])
    assert seen.lrange("begun", 0, -1) == ["1", "1"]
