"""Waking a thread that waits for a socket: a pipe that it waits for as well."""

from __future__ import annotations

import os
import threading


class Bell:
    """Rung from any thread, heard by the one that polls `fileno()`."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.Lock()  # what rings late must not write to a descriptor that is somebody else's by now

    def fileno(self) -> int:
        """What to poll for reading; -1 once it is closed."""
        ends = self._ends
        return -1 if ends is None else ends[0]

    def ring(self) -> None:
        """Make it readable. Does nothing once it is closed."""
        with self._lock:
            if self._ends is not None:
                try:
                    os.write(self._ends[1], b"!")
                except BlockingIOError:
                    pass  # rung often enough

    def silence(self) -> bool:
        """Whether it was rung since the last call."""
        try:
            return self._ends is not None and bool(os.read(self._ends[0], 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Let go of the pipe."""
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)
