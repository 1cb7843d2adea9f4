"""FastAPI under a server: start, shared batches, shutdown."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from events_core import ConfigurationError, DomainEvent, EventSystem, NotificationEvent
from events_core.brokers import InMemoryBroker
from events_core.bus import EventHandlerConsumer, IntegrationEventBusRegistration, Topic
from events_core.contrib.fastapi import lifespan
from events_core.errors import HandlersNotLoaded
from tests.support.broker_queues import envelopes, length
from tests.support.processes import Process, start_python
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps


class Stopped(DomainEvent, event_type="serving.stopped"):
    pass


class Said(NotificationEvent, event_type="serving.said", topic="serving"):
    pass


def handle(event: Stopped) -> None: ...


def serve(url: str, system: str, **env: str) -> Process:
    """tests/apps/web.py under uvicorn."""
    options = ["--port", "0", "--no-access-log"]
    return start_python(
        "-m", "uvicorn", "tests.apps.web:app", *options, env={"EVENTS_BROKER_URL": url, "TEST_SYSTEM": system, **env}
    )


def address(server: Process) -> str:
    return server.wait_for_log(r"running on (http://[\d.:]+)")[1]


async def post(url: str, paths: list[str]) -> list[httpx.Response]:
    """Requests that are all under way at once."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        return await asyncio.gather(*(client.post(path) for path in paths))


class TestStart:
    @pytest.mark.parametrize("missing", ["handlers", "broker"])
    def test_a_server_does_not_start_with_what_cannot_work(
        self, redis_url: str, system_name: str, missing: str
    ) -> None:
        """It ends, and says why, instead of failing with the first request."""
        if missing == "handlers":
            server = serve(redis_url, system_name, TEST_HANDLERS="shop.not_there")
            expected = "HandlersNotLoaded: .*'shop.not_there' cannot be imported"
        else:
            server = serve("", system_name)
            expected = "ConfigurationError: EVENTS_BROKER_URL is not set: set it to 'embedded'"
        assert server.wait() == 3
        server.wait_for_log(expected)

    @pytest.mark.parametrize(
        ("settings", "error"),
        [({"handlers": ["shop.not_there"]}, HandlersNotLoaded), ({"broker_url": ""}, ConfigurationError)],
    )
    def test_a_test_client_is_told_as_well(self, system_name: str, settings: Any, error: type[Exception]) -> None:
        events = EventSystem(system_name, **{"broker_url": "redis://127.0.0.1:1/0", **settings})
        with pytest.raises(error):
            TestClient(FastAPI(lifespan=lifespan(events))).__enter__()

    def test_it_connects_to_nothing(self, system_name: str, tmp_path: Path) -> None:
        """No server is there, and none is started."""
        events = EventSystem(system_name, broker_url="embedded", data_dir=tmp_path / "data")
        with TestClient(FastAPI(lifespan=lifespan(events))):
            pass
        assert not (tmp_path / "data").exists()


class TestEnd:
    def test_a_lifespan_of_ones_own_runs_inside(self, redis_url: str, system_name: str) -> None:
        """What its end emits still goes out; afterwards nothing is left open."""
        events = EventSystem(system_name, broker_url=redis_url)
        events.bind(Stopped, handle, name="stopped")
        threads = set(threading.enumerate())

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            yield {"pool": "a pool"}
            await events.aemit(Stopped())

        app = FastAPI(lifespan=lifespan(events, inside=own))
        app.get("/")(state)
        with TestClient(app) as client:
            assert client.get("/").json() == "a pool"
        assert length(redis_url, events.settings.default_queue) == 1
        left = {thread for thread in threading.enumerate() if thread.name == "events-emit"} - threads
        assert not left

    def test_a_bus_runs_while_the_application_does(self, system_name: str) -> None:
        """It starts after the application's own lifespan has opened things, and ends before that closes them."""
        events = EventSystem(system_name, broker_url="redis://127.0.0.1:1/0", message_broker=InMemoryBroker())
        bus = events.bus()
        heard: list[Said] = []
        opened = False

        async def hear(event: Said) -> None:
            assert opened
            heard.append(event)

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[None]:
            nonlocal opened
            opened = True
            consumer = EventHandlerConsumer("own", {Said: [hear]})
            await bus.register(IntegrationEventBusRegistration(consumer, Topic("serving"), [Said]))
            yield
            opened = False

        app = FastAPI(lifespan=lifespan(events, bus=bus, inside=own))

        @app.post("/")
        async def say() -> None:
            await events.aemit(Said())

        with TestClient(app) as client:
            assert client.post("/").status_code == 200
            wait_until(lambda: heard, what="the event is heard on the bus")
        assert not bus._started

    def test_a_server_that_is_stopped_finishes_its_requests_and_loses_nothing(
        self, redis_url: str, system_name: str, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        server = serve(redis_url, system_name)
        url = address(server)
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.extend(asyncio.run(post(url, [f"/{number}?gate={gate}" for number in range(20)])))

        asking = threading.Thread(target=ask)
        asking.start()
        with redis.Redis.from_url(redis_url) as client:
            httpx.post(f"{url}/100")
            wait_until(lambda: len(list(tmp_path.glob("gate-*"))) == 20, what="20 requests to wait")
            assert length(redis_url, f"{system_name}.events") == 2, "of those that wait nothing is out yet"
            server.signal(15)
            server.wait_for_log("Shutting down")
            gate.touch()
            asking.join(30)
            assert [answer.status_code for answer in answers] == [200] * 20
            assert server.wait() in (0, -15)
            wait_until(lambda: client.client_list(_type="normal")[1:] == [], what="its connections to be closed")
        numbers = [envelope["data"]["number"] for envelope in envelopes(redis_url, f"{system_name}.events")]
        assert sorted(numbers) == sorted([*range(20), 100] * 2)


class TestServing:
    def test_requests_at_once_share_batches(self, redis_url: str, system_name: str) -> None:
        """Fewer commands than events; and each event has its own request's correlation id."""
        url = address(serve(redis_url, system_name))
        assert httpx.post(f"{url}/0").status_code == 200
        with redis.Redis.from_url(redis_url) as client:
            client.config_resetstat()
            answers = asyncio.run(post(url, [f"/{number}" for number in range(1, 101)]))
            stats: dict[str, Any] = client.info("commandstats")
        assert stats["cmdstat_eval"]["calls"] < 100
        ids = {answer.json(): answer.headers["X-Correlation-ID"] for answer in answers}
        found = [envelope for envelope in envelopes(redis_url, f"{system_name}.events") if envelope["data"]["number"]]
        assert len(found) == 200
        assert {envelope["data"]["number"]: envelope["correlation_id"] for envelope in found} == ids
        assert len(set(ids.values())) == 100

    def test_the_servers_own_line_about_an_error_has_the_id(
        self, redis_url: str, system_name: str, tmp_path: Path
    ) -> None:
        """uvicorn writes it when all middleware has been left. A line that belongs to no request has none."""
        config = tmp_path / "logging.json"
        config.write_text(json.dumps(LOGGING))
        server = serve(redis_url, system_name, UVICORN_LOG_CONFIG=str(config))
        url = address(server)
        assert httpx.get(f"{url}/fails", headers={"X-Correlation-ID": "asked-for-7"}).status_code == 500
        server.wait_for_log(r"^\[asked-for-7\] Exception in ASGI application")
        assert httpx.post(f"{url}/1").status_code == 200
        server.terminate()
        assert re.search(r"^\[-\] Shutting down", server.log, re.MULTILINE)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"correlation": {"()": "events_core.correlation.CorrelationFilter"}},
    "formatters": {"plain": {"format": "[%(correlation_id)s] %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "filters": ["correlation"], "formatter": "plain"}},
    "root": {"handlers": ["out"], "level": "INFO"},
}


async def state(request: Request) -> str:
    return str(request.state.pool)
