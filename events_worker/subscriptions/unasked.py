"""Telling of messages that nobody on a queue asked for, without filling the log with them."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

#: Seconds after which it is told again.
_AGAIN = 60.0


class Unasked:
    """Warns of those of one queue that gets only what it is bound to: once a minute at most."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._number = 0
        self._told_at = float("-inf")

    def skipped(self, number: int, event_type: str) -> None:
        """So many more were, the last of them of that type."""
        self._number += number
        now = time.monotonic()
        if now - self._told_at >= _AGAIN:
            logger.warning(
                "the subscription %s: %d messages were skipped, of types that nobody here asked for, such as %.80r: "
                "another service uses the same queue=, and loses events by it, or somebody else has bound the queue",
                *(self._queue, self._number, event_type),
            )
            self._number, self._told_at = 0, now
