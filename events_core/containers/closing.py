"""What must be ended with a scope, and what an error at that means."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

from events_core.containers.steps import Steps

logger = logging.getLogger(__name__)


def left(manager: Any, error: BaseException | None, *, is_async: bool) -> Steps[None]:
    """Leave an entered context manager, with the error that ended its block.

    Raises what its exit raises after a success. After a failure that is logged: the failure says more. That it would
    swallow the error is not heeded: a failed run has failed.
    """
    trace = None if error is None else error.__traceback__
    try:
        if is_async:
            ended: Awaitable[Any] = manager.__aexit__(_type(error), error, trace)
            yield ended
        else:
            manager.__exit__(_type(error), error, trace)
    except Exception as closing:
        if error is None:
            raise
        if closing is not error:
            # its text may quote what was written to a database, and belongs to no log
            logger.warning("ending a scope after a %s failed too: %s", _name(error), type(closing).__name__)


def _type(error: BaseException | None) -> type[BaseException] | None:
    return None if error is None else type(error)


def _name(error: BaseException) -> str:
    return type(error).__name__
