"""Flower over a small shop, for the tests that look at it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.shop import Shop
from tests.support.waiting import wait_until

USER, PASSWORD = "events", "correct-horse-battery"


@dataclass(frozen=True)
class Dashboard:
    """A Flower that runs."""

    port: int
    process: Process

    def status(self, path: str, *, password: str | None = PASSWORD) -> int:
        """The status that a page answers with; password None: without credentials."""
        return self._get(path, password)[0]

    def page(self, path: str) -> str:
        """A page, as it is sent to a browser that knows the password."""
        status, text = self._get(path, PASSWORD)
        assert status == 200, f"{path}: {status}"
        return text

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What it knows of tasks, by id."""
        found: dict[str, dict[str, Any]] = json.loads(self.page("/api/tasks"))
        return found

    def wait_until_it_serves(self) -> None:
        """Waits until it answers and listens to the workers' events."""

        def serves() -> bool:
            try:
                return self.status("/healthcheck") == 200
            except OSError as error:
                assert self.process.alive, self.process.log
                raise AssertionError(str(error)) from error

        self.process.wait_for_log("Connected to ", 60)
        wait_until(serves, 60, "Flower to serve")

    def _get(self, path: str, password: str | None) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if password is not None:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # not through the machine's proxy
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def start_dashboard(shop: Shop, *options: str) -> Dashboard:
    """Starts `events flower` and waits until it serves and listens to the workers' events."""
    port = free_port()
    process = shop.start("flower", "--port", str(port), *options, env={"EVENTS_FLOWER_PASSWORD": PASSWORD})
    dashboard = Dashboard(port, process)
    dashboard.wait_until_it_serves()
    return dashboard


def wait_for_states(dashboard: Dashboard, states: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Waits until it shows each handler's task in that state; the tasks by handler."""

    def shown() -> dict[str, dict[str, Any]] | None:
        tasks = {task["name"]: task for task in dashboard.tasks().values()}
        assert {name: task["state"] for name, task in tasks.items()} == states
        return tasks

    found = wait_until(shown, 60, f"Flower to show {states}")
    assert found is not None
    return found
