"""Tells that the coordination Redis was emptied: flushed, restarted without its data, or replaced by an empty one."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class EmptiedWatch:
    """Compares what Redis says of itself with what it said before. One for each process that sweeps."""

    def __init__(self) -> None:
        self._epoch: str | None = None
        self._parked = 0

    def look(self, epoch: str, parked: int) -> None:
        """Say once, as an error, what has been lost.

        epoch: as the scripts keep it, another one after Redis was emptied. parked: deliveries that are parked now.
        """
        if self._epoch not in (None, epoch):
            logger.error(
                "the coordination Redis was emptied: %s, and delayed retries, dead letters and overrides with them. "
                "Work goes on. Emit the lost events again from the application's own records, and let Redis keep its "
                "data (appendonly yes, no eviction; `events check --deploy` says what it lacks)",
                f"{self._parked} deliveries that were parked there are lost"
                if self._parked
                else "nothing was parked there at the last look; what has been since is lost",
            )
        self._epoch = epoch
        self._parked = parked
