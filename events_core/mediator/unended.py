"""Handling that nobody can end: in another thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)

#: The loop alone would not keep them.
_unended: set[asyncio.Task[Any]] = set()


async def to_its_end(handling: Coroutine[Any, Any, Any], name: str) -> Any:
    """Its result. Where this is cancelled the handling goes on: its thread does, and what it has done needs its events.

    name: of the request, for the log.
    """
    task = asyncio.ensure_future(handling)
    _unended.add(task)
    task.add_done_callback(_unended.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda ended: _tell(ended, name))
        raise


def _tell(ended: asyncio.Task[Any], name: str) -> None:
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        logger.error("%s failed with %s after its sender was cancelled", name, type(error).__name__)
