"""A FastAPI application whose requests are watched: how many events are out at each of their moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from events_core import DomainEvent, EventSystem
from events_core.contrib.fastapi import held
from tests.support.broker_queues import length


class Ordered(DomainEvent, event_type="fastapi.ordered"):
    part: str = ""


class Shop:
    """An application whose requests are watched: how many events are out at each of their moments."""

    def __init__(self, events: EventSystem, url: str) -> None:
        self.events = events
        self.url = url
        self.app = FastAPI(dependencies=[held(events)])
        self.seen: dict[str, int] = {}
        self.app.add_middleware(Watching, self)

    def out(self) -> int:
        """Events that are on the queue."""
        return length(self.url, self.events.settings.default_queue)

    def look(self, moment: str) -> None:
        """Write down how many are out."""
        self.seen[moment] = self.out()

    def get(self, path: str = "/") -> int:
        """The status of one request."""
        with TestClient(self.app, raise_server_exceptions=False) as client:
            return int(client.get(path).status_code)


class Watching:
    """ASGI middleware that looks at the moment when the response is sent."""

    def __init__(self, app: Any, shop: Shop) -> None:
        self.app = app
        self.shop = shop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.shop.look("response")
            await send(message)

        await self.app(scope, receive, watched)


def handle(event: Ordered) -> None: ...


@contextmanager
def emitting(url: str, name: str, **settings: Any) -> Iterator[EventSystem]:
    """A system with one handler of `Ordered`."""
    events = EventSystem(name, broker_url=url, **settings)
    events.bind(Ordered, handle, name="ordered")
    try:
        yield events
    finally:
        events.close()
