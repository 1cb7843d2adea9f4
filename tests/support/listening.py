"""What Flower hears: the events that workers send."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery

from tests.support.waiting import wait_until


class listening:
    """Collects Celery's events within the block. A worker with -E must run, which sends heartbeats."""

    def __init__(self, app: Celery, heard: list[dict[str, Any]]) -> None:
        self._app, self._heard = app, heard
        self._stop = threading.Event()

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        # On Redis kombu subscribes when it reads for the first time: what was sent before that is nowhere.
        wait_until(lambda: self._heard, what="a heartbeat of the worker")

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._heard.append})
            with receiver.consumer_context(wakeup=False) as (draining, _channel, _consumers):
                while not self._stop.is_set():
                    try:
                        draining.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
