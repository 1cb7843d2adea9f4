"""Gates that had no room a moment ago: whoever comes now is parked in one step, and admitted in it if there is room."""

from __future__ import annotations

import time
from collections.abc import Iterable

#: Seconds that a gate counts as crowded, and how many are remembered.
_MOMENT = 1.0
_MANY = 1000


class Crowded:
    """Remembers gates that blocked somebody."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, gate: str) -> None:
        """It has just blocked somebody."""
        if len(self._until) >= _MANY:
            self._until = {}
        self._until[gate] = time.monotonic() + _MOMENT

    def any(self, gates: Iterable[str]) -> bool:
        """Whether one of them is."""
        if not self._until:
            return False
        now = time.monotonic()
        return any(self._until.get(gate, 0.0) > now for gate in gates)
