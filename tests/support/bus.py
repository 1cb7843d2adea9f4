"""An EventBus in a test: its loop, what its handlers heard, and waiting without blocking that loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.support.waiting import PAUSE

T = TypeVar("T")


async def until(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """As `wait_until`, on the event loop.

    Args:
        condition: called again and again.
        timeout: seconds after which waiting has failed.
        what: what is awaited, in words, for the error.

    Raises:
        AssertionError: it did not come true in time.
    """
    end = asyncio.get_running_loop().time() + timeout
    while not (value := condition()):
        if asyncio.get_running_loop().time() >= end:
            raise AssertionError(f"waited {timeout:g} s for: {what or condition}. The last look gave: {value!r}")
        await asyncio.sleep(PAUSE)
    return value


def run(main: Callable[[], Awaitable[object]], timeout: float = 150.0) -> None:
    """Run a test's coroutine on a loop of its own, for at most `timeout` seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(timeout):
            await main()

    asyncio.run(bounded())
