"""The journal: every run of a handler, in a SQLite file, so that the demo can prove what became of each delivery.

Off unless SHOP_JOURNAL names a file. A shop of your own needs none of this.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

from events_core import Event
from events_core.scope import current_scope

P = ParamSpec("P")
R = TypeVar("R")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    delivery_id TEXT NOT NULL,
    handler TEXT NOT NULL,
    emitted_at REAL NOT NULL,  -- when the event was made, seconds since the epoch, like the next one
    started_at REAL NOT NULL,
    began REAL NOT NULL,       -- by the machine's monotonic clock, which all its processes share, like the next one
    ended REAL NOT NULL,
    done INTEGER NOT NULL,     -- 0: this run failed
    follow_ups TEXT NOT NULL   -- [[event_type, version, event_id], ...]
)
"""
_lock = threading.Lock()
_connection: sqlite3.Connection | None = None


def journaled(handler: Callable[P, R]) -> Callable[P, R]:
    """Write each run of the handler into the journal, where there is one, when the run ends."""
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def arun(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _run(handler, args[0]) as result:
                result[:] = [await handler(*args, **kwargs)]
            return result[0]

        return cast("Callable[P, R]", arun)

    @functools.wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _run(handler, args[0]) as result:
            result[:] = [handler(*args, **kwargs)]
        return cast("R", result[0])

    return run


@contextmanager
def _run(handler: Callable[..., Any], event: object) -> Iterator[list[Any]]:
    """The block leaves the handler's result in the list; an exception is a failed run."""
    path, scope = os.environ.get("SHOP_JOURNAL"), current_scope()
    started_at, began = time.time(), time.monotonic()
    result: list[Any] = []
    try:
        yield result
    finally:
        ended = time.monotonic()
        if path and scope is not None and isinstance(event, Event):
            name = f"{handler.__module__}.{handler.__qualname__}"
            follow_ups = [[e.event_type, e.version, str(e.event_id)] for e in result if isinstance(e, Event)]
            times = (event.occurred_at.timestamp(), started_at, began, ended)
            row = (scope.delivery_id, name, *times, bool(result), json.dumps(follow_ups))
            with _lock:  # one writer at a time is all that SQLite has
                _own(path).execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def open_journal(path: str) -> sqlite3.Connection:
    """A connection to the journal in that file, made if missing."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # outlives any killed process; this is no bank
    connection.execute(_SCHEMA)
    return connection


def _own(path: str) -> sqlite3.Connection:
    global _connection
    if _connection is None:
        _connection = open_journal(path)
    return _connection
