"""The coordination Redis: its client, its keys, its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core import ConfigurationError, EventSystem
from events_core.publishing.connect import redis_address, redis_url
from events_core.settings import broker_kind, without_password
from events_core.transport import schemes

#: Seconds to wait for the coordination Redis; whoever waits tries again.
_TIMEOUT = 5.0


class Coordination:
    """What the worker keeps in Redis. `client` decodes replies to str; `key` puts the system's prefix before a name."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self._prefix = prefix

    def key(self, name: str) -> str:
        """The full name of a key."""
        return self._prefix + name

    def script(self, source: str) -> Callable[..., Any]:
        """A Lua script, called with keys=[...] and args=[...]."""
        return self.client.register_script(source)


def connect(system: EventSystem) -> Coordination:
    """The coordination Redis of a system; connects on first use. Raises ConfigurationError where none is known."""
    url, options = coordination_address(system)
    client = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        protocol=2,
        # Each try once: who calls knows whether to try again, and for how long.
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return Coordination(client, system.settings.key_prefix)


def coordination_url(system: EventSystem) -> str:
    """REDIS_URL, else the broker where that is Redis."""
    return coordination_address(system)[0]


def coordination_address(system: EventSystem) -> tuple[str, dict[str, Any]]:
    """REDIS_URL, else the broker where that is Redis; and redis-py's options for it, those of the broker's TLS."""
    if system.settings.redis_url:
        return redis_url(system.settings.redis_url), {}
    embedded = system.open_embedded()
    if embedded is not None:
        return embedded.url, {}
    broker = system.celery.connection_for_write()
    url = schemes.plain(broker.as_uri(include_password=True))
    if broker_kind(url) == "redis":
        return redis_address(broker)
    raise ConfigurationError(
        f"the broker {without_password(url)} is no Redis, and EVENTS_REDIS_URL is not set: set it to the Redis that "
        "keeps delayed retries and dead letters, such as redis://localhost:6379/0"
    )
