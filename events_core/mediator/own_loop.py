"""Running what is async for sync code: on a loop that runs already, or on one of our own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events_core.forking import call_in_child
from events_core.middleware import Run

#: At most, of the loop's executor; it makes one only where none is idle.
THREADS = 1000


def running_on(loop: asyncio.AbstractEventLoop) -> Run:
    """What runs coroutines on that loop, for another thread and in its context; what interrupts it cancels them."""

    def run(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def call() -> Any:
            return await make()

        future = asyncio.run_coroutine_threadsafe(call(), loop)
        try:
            return future.result()
        finally:
            future.cancel()

    return run


class OwnLoop:
    """Runs coroutines on one long-lived loop, in a thread of its own, so that their connection pools survive.

    It begins with the first coroutine. A forked child has a loop of its own.
    """

    def __init__(self) -> None:
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The result of ``await make()``."""
        return running_on(self._loop or self._start())(make)

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                # threads wait for each other here (a request within a request): a small pool would end in a deadlock
                loop.set_default_executor(ThreadPoolExecutor(THREADS, "events-mediator"))
                threading.Thread(target=loop.run_forever, name="events-mediator", daemon=True).start()
                self._loop = loop
            return self._loop


own_loop = OwnLoop()
