"""Storing dead letters from the worker's main thread, without making it wait for a server that is down."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

Action = Callable[[], object]


class Undertaker:
    """One thread that buries, one letter after the other; each message is acknowledged once its letter is stored."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._graves: queue.SimpleQueue[tuple[Action, Action, Action | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, bury: Action, then: Action, instead: Action | None = None) -> None:
        """Call `bury`, which insists until it is stored, then `then`, which acknowledges.

        instead: called when `bury` raises, for example because the message cannot be stored as what it says it is.
        """
        self._graves.put((bury, then, instead))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events-burial", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            bury, then, instead = self._graves.get()
            try:
                _bury(bury, instead)
                then()
            except Exception:  # the message stays unacknowledged and comes back
                logger.exception("a message could not be made a dead letter; it is delivered again")


def _bury(bury: Action, instead: Action | None) -> None:
    try:
        bury()
    except Exception:
        if instead is None:
            raise
        logger.exception("a message could not be settled and becomes a dead letter as it is")
        instead()


undertaker = Undertaker()
