"""`SERVE=1`: the shop stays open."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import time
from dataclasses import dataclass

import httpx
from rich.console import Console

from examples.shop_demo.children import Children
from examples.shop_demo.place import APP

_USER = "events"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Flower's address and password."""

    url: str
    password: str


def start_flower(children: Children) -> Dashboard | None:
    """Start Flower with a random password, where it is installed."""
    if importlib.util.find_spec("flower") is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(12)
    os.environ |= {"EVENTS_FLOWER_USER": _USER, "EVENTS_FLOWER_PASSWORD": password}
    flower = children.start("flower", "-m", "events_worker.cli", "flower", "-A", APP, f"--port={port}")
    url = f"http://127.0.0.1:{port}"
    flower.wait_for(lambda: _answers(f"{url}/healthcheck"), f"answer at {url}")
    return Dashboard(url, password)


def serve(console: Console, children: Children, shop: str, dashboard: Dashboard | None) -> None:
    """Say where everything is, and stay until Ctrl-C. Raises DemoFailed when a process ends by itself."""
    lines = [f"shop   {shop}/docs"]
    if dashboard is None:
        lines.append("Flower is not installed: pip install 'celery-events[flower]'")
    else:
        lines.append(f"Flower {dashboard.url} (user {_USER}, password {dashboard.password})")
    for line in [*lines, "Ctrl-C ends them."]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    try:
        while True:
            children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
