"""An outage of the message broker: told once when it begins and once when it ends, with growing pauses between."""

from __future__ import annotations

import logging
import random
import time

from events_core.bus.statistics import Statistics

logger = logging.getLogger(__name__)

#: Seconds between two attempts. A connection that lasted so long counts as a good one: pauses are short again.
_FIRST_PAUSE, _LONGEST_PAUSE, _STEADY = 0.1, 5.0, 5.0


class Outage:
    """That of one queue, over and over. Used by its receiving thread."""

    def __init__(self, queue: str, statistics: Statistics) -> None:
        self._queue = queue
        self._statistics = statistics
        self._pause = _FIRST_PAUSE
        self._since: float | None = None
        self._connected_at = time.monotonic()

    def begin(self, error: Exception) -> None:
        """Something went wrong. What is no OSError is a fault of ours, or a queue that cannot be had."""
        self._statistics.connected = False
        now = time.monotonic()
        if self._since is not None:
            return
        if now - self._connected_at > _STEADY:
            self._pause = _FIRST_PAUSE
        self._since = now
        self._statistics.outages += 1
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            logger.warning("%s: the broker does not answer, trying again: %s", self._queue, what)
        else:
            logger.error("%s: receiving failed, trying again: %s", self._queue, what, exc_info=error)

    def end(self) -> None:
        """The broker answers."""
        self._statistics.connected = True
        if self._since is not None:
            self._connected_at = time.monotonic()
            logger.info("%s: receives again, after %.1f s", self._queue, self._connected_at - self._since)
            self._since = None

    def pause(self) -> float:
        """Seconds until the next attempt."""
        pause = self._pause
        self._pause = min(pause * 2, _LONGEST_PAUSE)
        return pause * (0.5 + random.random() / 2)
