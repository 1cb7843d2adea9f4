"""How new what was handled is, in memory."""

from __future__ import annotations

from events_worker.run import Newest
from events_worker.subscriptions.watermarks import Watermarks


class InlineWatermarks(Watermarks):
    """As `Watermarks`."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}

    def is_outdated(self, newest: Newest) -> bool:
        """See `Watermarks.is_outdated`."""
        before = self._newest.get((newest.handler, newest.entity))
        return before is not None and newest.version <= before

    def raise_to(self, newest: Newest) -> None:
        """See `Watermarks.raise_to`."""
        key = (newest.handler, newest.entity)
        self._newest[key] = max(newest.version, self._newest.get(key, newest.version))
