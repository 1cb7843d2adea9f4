"""Running handlers inside a test, and remembering what they returned and raised."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_worker.async_bridge import AsyncBridge
from events_worker.running import Finish, Runner


class InlineRunner(Runner):
    """As `Runner`. returned, error: of the handler that ran last; of a fallback only where that has succeeded."""

    def __init__(self, container: Any, middleware: Sequence[Any]) -> None:
        super().__init__(container, middleware)
        self.forget()

    def forget(self) -> None:
        """Nothing has run yet."""
        self.returned: Any = None
        self.error: BaseException | None = None

    def run(self, spec: HandlerSpec, event: Event, finish: Finish | None = None) -> Any:
        """See `Runner.run`."""
        try:
            with _keeping_timer():
                self.returned = super().run(spec, event, finish)
        except BaseException as error:
            self.error = self.error or error
            raise
        return self.returned

    @contextmanager
    def on(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """In the block, async handlers run on that loop, which must not be that of the calling thread."""
        own, self._bridge = self._bridge, _BridgeTo(loop)
        try:
            yield
        finally:
            self._bridge = own


class _BridgeTo(AsyncBridge):
    """To a loop that runs already."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop


@contextmanager
def _keeping_timer() -> Iterator[None]:
    """Set the process's timer again, which a handler's own timeout takes: pytest-timeout waits by it, too."""
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    started = time.monotonic()
    try:
        yield
    finally:
        left -= time.monotonic() - started
        if left > 0 and not signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, left, interval)
