"""The health check that the web adapters share: it tells the truth in time, and no secret."""

from __future__ import annotations

import asyncio
import logging
import threading
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from events_core import EventSystem
from events_core.contrib import _health
from events_core.contrib._health import aping, ping
from events_core.contrib.fastapi import health
from tests.support.ports import free_port
from tests.support.proxy import Proxy

SECRET = "s3cret-w0rd"


def test_both_servers_answer(broker_url: str, redis_url: str, system_name: str) -> None:
    found = ping(EventSystem(system_name, broker_url=broker_url, redis_url=redis_url))
    assert found.as_json() == {"ok": True, "checks": {"broker": "ok", "coordination": "ok"}}


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_one_that_is_away_is_named_without_its_password(
    scheme: str, redis_url: str, system_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{free_port()}/0"
    found = ping(EventSystem(system_name, broker_url=url, redis_url=redis_url))
    assert not found.ok
    assert found.checks["broker"].startswith("cannot be reached")
    assert found.checks["coordination"] == "ok"
    assert "the broker cannot be reached" in caplog.text
    assert SECRET not in f"{found}{caplog.text}"


def test_a_password_that_is_refused(redis_url: str, system_name: str, caplog: pytest.LogCaptureFixture) -> None:
    refused = redis_url.replace("redis://", f"redis://nobody:{SECRET}@")
    found = ping(EventSystem(system_name, broker_url=redis_url, redis_url=refused))
    assert found.checks == {"broker": "ok", "coordination": "cannot be reached (AuthenticationError)"}
    assert SECRET not in caplog.text


def test_what_is_not_set(system_name: str) -> None:
    assert ping(EventSystem(system_name)).checks == {"broker": "not configured", "coordination": "not configured"}


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_server_that_swallows_everything_is_told_in_time(scheme: str, redis_url: str, system_name: str) -> None:
    """And the loop goes on meanwhile; and however often is asked, one look is under way for each server."""
    with Proxy(urlsplit(redis_url).port or 6379) as proxy:
        proxy.blackhole()
        url = f"{scheme}://127.0.0.1:{proxy.port}/0"
        events = EventSystem(system_name, broker_url=url, redis_url=f"redis://127.0.0.1:{proxy.port}/0")
        turns = 0

        async def ask() -> list[_health.Health]:
            nonlocal turns
            asked = asyncio.gather(*(aping(events, 0.3) for _ in range(20)))
            while not asked.done():
                turns += 1
                await asyncio.sleep(0.01)
            return await asked

        for found in asyncio.run(asyncio.wait_for(ask(), 20)):
            assert not found.ok
            assert all(said == "no answer within 0.3 s" for said in found.checks.values()), found
        assert turns > 5
        assert proxy.served <= 2


def test_a_look_that_hangs_beyond_all_timeouts(
    redis_url: str, system_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As connecting does while a name server does not answer. The next one is true again."""
    go_on, looks = threading.Event(), []

    def hang(system: EventSystem, timeout: float) -> None:
        looks.append(system)
        go_on.wait(30)

    events = EventSystem(system_name, broker_url=redis_url)
    with monkeypatch.context() as patch:
        patch.setitem(_health._LOOKS, "broker", hang)
        for _ in range(3):
            assert ping(events, 0.05).checks["broker"] == "no answer within 0.05 s"
        assert looks == [events]
        hanging = _health._pings.start(events, 0.05)["broker"]
        go_on.set()
        assert hanging.result(30) == "ok"
    assert ping(events).ok


def test_it_starts_the_embedded_redis(tmp_path: object, system_name: str) -> None:
    events = EventSystem(system_name, broker_url="embedded", data_dir=tmp_path)
    try:
        assert ping(events, 20).ok
    finally:
        events.close()


def test_in_fastapi(redis_url: str, system_name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    app = FastAPI()
    app.add_api_route("/ready", health(EventSystem(system_name, broker_url=redis_url)))
    app.add_api_route("/away", health(EventSystem(f"{system_name}b", broker_url="redis://127.0.0.1:1/0")))
    with TestClient(app) as client:
        assert client.get("/ready").json() == {"ok": True, "checks": {"broker": "ok", "coordination": "ok"}}
        assert client.get("/away").status_code == 503
