"""Which handlers are paused, as a process believes: looked up beside the runs, never in their way."""

from __future__ import annotations

import logging
import threading
import time

from events_core.coordination import Coordination
from events_core.forking import call_in_child

logger = logging.getLogger(__name__)

#: Seconds between two looks while deliveries arrive, and after a look that failed.
_EVERY, _AFTER_ERROR = 1.0, 30.0
#: Seconds after which what is known is old, and for which a run waits then for the next look.
_OLD, _PATIENCE = 3.0, 1.0


class PausedHandlers:
    """The paused handlers of one system. Asks when it is asked, once a second at the most."""

    def __init__(self, coordination: Coordination) -> None:
        self._client = coordination.client
        self._key = coordination.key("paused")
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._next = 0.0
        self._old_at = 0.0
        self._asked = threading.Event()
        self._looked = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __contains__(self, handler: str) -> bool:
        if time.monotonic() >= self._next:
            self._refresh()
        return handler in self._names

    def _refresh(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return
            self._looked.clear()
            self._asked.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events-paused", daemon=True)
                self._thread.start()
            if now >= self._old_at and not self._looked.wait(_PATIENCE):  # of before it began, or was idle
                self._old_at = now + _AFTER_ERROR
            self._next = max(self._next, now + _EVERY)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            self._look()

    def _look(self) -> None:
        try:
            self._names = frozenset(map(str, self._client.smembers(self._key)))
            self._old_at = time.monotonic() + _OLD
        except Exception as error:  # a thread that ends would never look again
            logger.warning("which handlers are paused is not known: %s", error)
            self._next = self._old_at = time.monotonic() + _AFTER_ERROR
        self._looked.set()
