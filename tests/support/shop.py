"""A small application for tests of the command `events`: its source, and how the command is run on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import run_python
from tests.support.processes import Process, child_env, start_python, start_worker

#: What no dashboard and no list may show.
SECRET = "ada@secret.example"

SOURCE = '''
"""Orders: one handler is done, one is retried once, one is dead at once."""

from __future__ import annotations

import os
from pathlib import Path

from events_core import DomainEvent, EventHandler, EventSystem, Retry

events = EventSystem("shop")


class OrderPlaced(DomainEvent, event_type="order.placed"):
    order_id: int
    email: str


class OrderConfirmed(DomainEvent, event_type="order.confirmed"):
    order_id: int


@events.handler(OrderPlaced)
async def receipt(event: OrderPlaced) -> None:
    """Sends it."""


@events.handler(OrderPlaced, retry=Retry(base=0.1, jitter=False))
def reserve(event: OrderPlaced) -> None:
    tried = Path(os.environ["SHOP_FILES"]) / f"tried-{event.event_id}"
    if not tried.exists():
        tried.touch()
        raise ConnectionError(f"the stock does not answer for {event.email}")


@events.handler(OrderPlaced, retry=None)
class Charge(EventHandler[OrderPlaced]):
    def handle(self, event: OrderPlaced) -> list[OrderConfirmed] | None:
        if not (Path(os.environ["SHOP_FILES"]) / "solvent").exists():
            raise ValueError(f"the card of {event.email} is refused")
        return None


@events.handler(OrderConfirmed, queue="mail")
def tell(event: OrderConfirmed) -> OrderPlaced | None:
    return None
'''


@dataclass(frozen=True)
class Shop:
    """The application in a folder, with its settings."""

    folder: Path
    env: dict[str, str]

    @classmethod
    def at(cls, folder: Path, broker_url: str, redis_url: str = "", source: str = SOURCE) -> Shop:
        """Writes it to `folder`. redis_url: the coordination Redis, where the broker is none."""
        (folder / "shop.py").write_text(source)
        env = {
            "EVENTS_APP": "shop:events",
            "EVENTS_BROKER_URL": broker_url,
            "EVENTS_DATA_DIR": str(folder / "data"),
            "SHOP_FILES": str(folder),
        }
        return cls(folder, env | ({"EVENTS_REDIS_URL": redis_url} if redis_url else {}))

    def events(
        self, *args: str, env: Mapping[str, str | None] | None = None, said: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `events ARGS` to its end. said: what is typed into it."""
        whole = child_env({**self.env, **(env or {})})
        return run_python("-m", "events_worker.cli", *args, env=whole, cwd=self.folder, said=said or "", timeout=120)

    def json(self, *args: str, **env: str) -> Any:
        """What `events ARGS --json` printed; it must have succeeded."""
        ran = self.events(*args, "--json", env=env)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def place_orders(self, count: int = 1) -> list[str]:
        """Emits so many orders from a process of its own; the ids of the events."""
        code = (
            "import sys, shop\n"
            f"events = [shop.OrderPlaced(order_id=i, email={SECRET!r}) for i in range({count})]\n"
            "print(*(e.event_id for e in shop.events.emit_many(events)), sep='\\n')"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=child_env(self.env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    def worker(self, *extra: str) -> Process:
        """Starts a worker and waits until it is ready."""
        return start_worker("shop", env=self.env, cwd=self.folder, extra=extra)

    def start(self, *args: str, env: Mapping[str, str | None] | None = None) -> Process:
        """Starts `events ARGS`, which does not end by itself."""
        return start_python("-m", "events_worker.cli", *args, env={**self.env, **(env or {})}, cwd=self.folder)
