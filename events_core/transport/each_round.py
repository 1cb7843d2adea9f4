"""Being called in each round of an event loop: for work that the loop cannot see in its poll, where it would wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class EachRound:
    """Has a kombu hub call something in each of its rounds, from `start` to `stop`: by a pipe that can be read."""

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._pipe: tuple[int, int] | None = None
        self._started = False

    def start(self) -> None:
        """Call it from the next round on."""
        if self._started:
            return
        if self._pipe is None:
            self._pipe = os.pipe()
            os.write(self._pipe[1], b"!")
        self._loop.add_reader(self._pipe[0], self._callback)
        self._started = True

    def stop(self) -> None:
        """Call it no more."""
        if self._started and self._pipe is not None:
            self._loop.remove_reader(self._pipe[0])
        self._started = False

    def close(self) -> None:
        """Stop, and let go of the pipe."""
        self.stop()
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
