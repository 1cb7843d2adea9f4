"""Gates that had no room a moment ago: whoever comes now is parked in one step, and admitted in it if there is room."""

from __future__ import annotations

import time
from collections.abc import Iterable

#: Seconds that a gate counts as crowded, and how many are remembered.
_MOMENT = 1.0
_MANY = 1000


class Crowded:
    """Remembers gates that blocked somebody, and the handlers whose deliveries those were."""

    def __init__(self) -> None:
        self._gates: dict[str, float] = {}
        self._handlers: dict[str, float] = {}

    def add(self, gate: str, handler: str) -> None:
        """It has just blocked a delivery to that handler."""
        if len(self._gates) >= _MANY:
            self._gates = {}
        self._gates[gate] = self._handlers[handler] = time.monotonic() + _MOMENT

    def any(self, gates: Iterable[str]) -> bool:
        """Whether one of them is crowded."""
        if not self._gates:
            return False
        now = time.monotonic()
        return any(self._gates.get(gate, 0.0) > now for gate in gates)

    def handler(self, name: str) -> bool:
        """Whether some of its deliveries were blocked."""
        return self._handlers.get(name, 0.0) > time.monotonic()
