"""The members of this process: one for each Redis, key prefix and claim time."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.transport.member import Member

#: Seconds: less is no time in which a busy process could be sure to say that it is alive.
_SHORTEST = 0.5

_members: dict[tuple[object, ...], Member] = {}
_lock = threading.Lock()


def member(pool: Callable[[], redis.ConnectionPool], address: tuple[object, ...], prefix: str, claim: float) -> Member:
    """This process's member at that address. pool: makes a connection pool of its own for it.

    Raises ValueError for a claim time that no process could keep.
    """
    if claim < _SHORTEST:
        raise ValueError(f"transport option claim_after={claim:g}: give at least {_SHORTEST:g} seconds")
    key = (*address, prefix, claim)
    with _lock:
        found = _members.get(key)
        if found is None:
            own = pool()
            # Nothing may keep it from saying in time that it is alive.
            for name in ("socket_timeout", "socket_connect_timeout"):
                own.connection_kwargs[name] = min(own.connection_kwargs.get(name) or claim, claim / 4)
            # A repeated command would be sent long after its moment; whoever sends it decides.
            own.connection_kwargs["retry"] = Retry(NoBackoff(), 0)
            found = _members[key] = Member(redis.Redis(connection_pool=own), prefix, claim)
        return found


def address_of(parameters: dict[str, Any]) -> tuple[object, ...]:
    """What tells one Redis from another in kombu's connection parameters."""
    return tuple(parameters.get(name) for name in ("host", "port", "path", "db", "username"))


def _forget() -> None:
    """In a forked child: what the parent holds is the parent's."""
    global _lock
    _lock = threading.Lock()
    _members.clear()


def _end() -> None:
    for found in _members.values():
        found.end()


os.register_at_fork(after_in_child=_forget)
atexit.register(_end)
