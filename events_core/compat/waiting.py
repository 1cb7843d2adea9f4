"""Handlers that were registered before there was an EventSystem."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from events_core.events import Event
from events_core.forking import call_in_child
from events_core.handler_options import HandlerOptions


class Waiting(NamedTuple):
    """One of them, with what it was registered with."""

    event: type[Event] | str
    handler: Any
    options: HandlerOptions


class WaitingHandlers:
    """They wait until `bind_all` has bound them, each once, in the order they were added."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._new_lock()
        call_in_child(self._new_lock)

    def _new_lock(self) -> None:
        # Held while binding: who emits meanwhile waits until all are bound.
        self._lock = threading.RLock()

    def add(self, waiting: Waiting) -> None:
        """One more."""
        self._waiting.append(waiting)

    def bind_all(self, bind: Callable[[Waiting], None]) -> None:
        """Call `bind` with each. One for which it raises waits on, with those behind it."""
        if not self._waiting:
            return
        with self._lock:
            while self._waiting:
                bind(self._waiting[0])
                self._waiting.popleft()
