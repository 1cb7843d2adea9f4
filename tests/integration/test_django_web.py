"""Django's middleware for correlation ids, sync and async, and the health check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.django_project import Project

pytestmark = pytest.mark.apps

VIEWS = """
import logging

from django.db import transaction
from django.http import HttpResponse
from django.urls import path

from events_core.contrib.django import events
from events_core.contrib.django.health import health
from events_core.correlation import current_correlation_id
from orders.events import Placed


def show(request):
    with transaction.atomic():
        events.emit(Placed(number=1))
    return HttpResponse(current_correlation_id())


async def ashow(request):
    await events.aemit(Placed(number=1))
    return HttpResponse(current_correlation_id())


def fail(request):
    raise ValueError("a page that fails")


urlpatterns = [path("show", show), path("ashow", ashow), path("fail", fail), path("healthz", health)]
"""
ASK = """
import asyncio, json
from django.test import AsyncClient, Client
from tests.support.broker_queues import take_all

def correlation_ids():
    queue = events.settings.default_queue
    found = take_all(celery_broker_url(events.settings), queue)
    return [message.payload[0][0]["correlation_id"] for message in found]
"""


@pytest.fixture
def project(tmp_path: Path, redis_url: str, system_name: str) -> Project:
    return Project.at(tmp_path, redis_url, system_name, site_urls=VIEWS)


@pytest.mark.parametrize("page", ["/show", "/ashow"])
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_the_id_of_the_request_is_in_the_view_the_event_and_the_answer(
    project: Project, page: str, server: str
) -> None:
    """A received id is kept, one that is no good is replaced, one that is missing is made: each view on each server."""
    asked = f"Client().get({page!r}, headers=headers)"
    if server == "asgi":
        asked = f"asyncio.run(AsyncClient().get({page!r}, headers=headers))"
    project.run(f"""{ASK}
for given in ("abc-1", "x" * 201, None):
    headers = {{"X-Correlation-ID": given}} if given else {{}}
    answer = {asked}
    assert answer.status_code == 200
    own = answer.content.decode()
    assert answer.headers["X-Correlation-ID"] == own
    assert correlation_ids() == [own]
    assert (own == given) == (given == "abc-1")
    assert len(own) < 200
""")


def test_a_page_that_fails_has_the_id_too(project: Project) -> None:
    project.run(f"""{ASK}
answer = Client(raise_request_exception=False).get("/fail", headers={{"X-Correlation-ID": "abc-1"}})
assert answer.status_code == 500
assert answer.headers["X-Correlation-ID"] == "abc-1"
""")


def test_the_health_check(project: Project, tmp_path: Path) -> None:
    code = f"""{ASK}
answer = Client().get("/healthz")
print(answer.status_code, answer.content.decode())
assert Client().post("/healthz").status_code == 405
"""
    status, _, body = project.run(code).partition(" ")
    assert (status, json.loads(body)) == ("200", {"ok": True, "checks": {"broker": "ok", "coordination": "ok"}})
    project.env["EVENTS_BROKER_URL"] = "redis://user:hush@127.0.0.1:1/0"
    status, _, body = project.run(code).partition(" ")
    assert status == "503"
    assert "hush" not in body
    assert json.loads(body)["ok"] is False
