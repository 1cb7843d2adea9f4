"""The work itself, which every side does: nothing, something short, waiting, publishing a follow-up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.apps.marks import mark

SHORT = 0.020  # seconds: a handler that asks a database
WAIT = 0.100  # seconds: a handler that waits for another service


def short() -> None:
    time.sleep(SHORT)
    mark()


async def wait() -> None:
    mark()
    await asyncio.sleep(WAIT)
    mark()


def gate(path: str) -> None:
    """Hold the worker's slot until a file is there, so that a queue can be filled before it is worked off."""
    while not Path(path).exists():
        time.sleep(0.005)
