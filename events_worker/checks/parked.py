"""What is parked in the coordination Redis: can it all go on by itself?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from events_core import ConfigurationError, EventSystem
from events_core.coordination import Coordination, connect
from events_worker.checks.finding import Finding
from events_worker.checks.servers import PATIENCE
from events_worker.limits.overview import InUse, gates_in_use

_KINDS = ("limit", "rate", "breaker", "order", "group")


def check_parked(system: EventSystem) -> Iterator[Finding]:
    """Findings on deliveries that wait for their turn. Starts no embedded Redis; reads all keys in use."""
    if system.settings.embedded and system.owns_celery:
        return
    try:
        coordination = connect(system, PATIENCE)
    except ConfigurationError:
        return  # said by the static checks
    try:
        found = gates_in_use(coordination, _KINDS, 1)
        yield from _check_definitions(coordination, found)
        yield from _check_messages(coordination, found)
    except redis.RedisError:
        return  # said of the servers
    finally:
        coordination.client.close()


def _check_definitions(coordination: Coordination, found: InUse) -> Iterator[Finding]:
    names = [name for name, waiting in found.waiting.items() if waiting]
    client: Any = coordination.client
    in_force = client.hmget(coordination.key("gates"), names) if names else []
    for name, text in zip(names, in_force, strict=True):
        if text is None:
            kind, _, own = name.partition(":")
            cure = f", or give it a number with `events limits set {own} MAX`" if kind == "limit" else ""
            yield Finding(
                "warning",
                f"{found.waiting[name]} deliveries wait at the {kind} {own!r}, which no worker defines, and go on when "
                f"one does: start workers with the code that defines it{cure}",
            )


def _check_messages(coordination: Coordination, found: InUse) -> Iterator[Finding]:
    if not found.gates:
        return
    gate = found.gates[0]
    with coordination.client.pipeline() as pipe:  # at one moment
        pipe.zcard(coordination.key(f"gate:waiting:{gate.kind}:{gate.name}|{gate.key}"))
        pipe.hlen(coordination.key("parked:messages"))
        waiting, messages = pipe.execute()
    if waiting > messages:
        yield Finding(
            "error",
            f"of {waiting} deliveries that wait at the {gate.kind} {gate.name!r}, {messages} at the most still have "
            "their message: the coordination Redis has evicted the others, or somebody has deleted them. Emit their "
            "events again from the application's own records, and set maxmemory-policy noeviction",
        )
