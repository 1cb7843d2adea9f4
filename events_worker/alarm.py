"""The end of a sync handler that has run too long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Alarm(BaseException):
    """Ends a sync handler from a signal; no `except Exception` of the handler can swallow it."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise Alarm in the block after `seconds`, where signals can: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
