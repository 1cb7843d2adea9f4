"""Telling of events that nobody is bound to, without filling the log with them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

logger = logging.getLogger(__name__)

#: Seconds after which it is told again.
_AGAIN = 60.0


class Unheard:
    """Warns of each (topic, routing key) that nobody listens to, once a minute at most.

    It warns at once where somebody had listened in between.
    """

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._told: dict[tuple[str, str], float] = {}

    def heard(self, keys: Iterable[tuple[str, str]]) -> None:
        """Somebody listens to these."""
        if self._told:
            for key in keys:
                self._told.pop(key, None)

    def unheard(self, keys: Iterable[tuple[str, str]]) -> None:
        """Nobody listens to these."""
        now = time.monotonic()
        for key in sorted({*keys}):
            if now - self._told.get(key, -_AGAIN) >= _AGAIN:
                self._told[key] = now
                logger.warning("nobody is bound to %s of topic %s: %s", key[1], key[0], self._consequence)
