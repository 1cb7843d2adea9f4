"""Reaching the coordination Redis from a command: quickly, or not at all."""

from __future__ import annotations

import redis

from events_core import EventSystem
from events_core.coordination import coordination_address
from events_core.settings import without_password
from events_worker.checks.servers import probe
from events_worker.cli.failing import CommandFailed, reason_of
from events_worker.parts import Parts, parts_of


def reachable_parts(system: EventSystem) -> Parts:
    """The worker's parts, once the coordination Redis has answered. Raises CommandFailed within seconds if not."""
    url, options = coordination_address(system)
    try:
        probe(url, options)
    except (redis.RedisError, OSError) as error:
        raise CommandFailed(
            f"the coordination Redis {without_password(url)} does not answer: {reason_of(error)}. Start it, or correct "
            "EVENTS_REDIS_URL (default: EVENTS_BROKER_URL, where that is a Redis)"
        ) from error
    return parts_of(system)
