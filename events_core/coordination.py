"""The coordination Redis: its client, its keys, its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.embedded import EmbeddedRedis
from events_core.errors import ConfigurationError
from events_core.publishing.connect import redis_address, redis_url
from events_core.settings import Settings, broker_kind, without_password
from events_core.transport import schemes

#: Seconds to wait for the coordination Redis; whoever waits tries again.
_TIMEOUT = 5.0


class System(Protocol):
    """What is needed of an EventSystem."""

    settings: Settings

    @property
    def celery(self) -> Any: ...

    def open_embedded(self) -> EmbeddedRedis | None: ...


class Coordination:
    """What the worker keeps in Redis. `client` decodes replies to str; `key` puts the system's prefix before a name.

    streams: what the names of the broker's streams begin with, where they are in the same Redis; None if they are not.
    """

    def __init__(self, client: redis.Redis, prefix: str, streams: str | None = None) -> None:
        self.client = client
        self.streams = streams
        self._prefix = prefix

    def key(self, name: str) -> str:
        """The full name of a key."""
        return self._prefix + name

    def script(self, source: str) -> Callable[..., Any]:
        """A Lua script, called with keys=[...] and args=[...]."""
        return self.client.register_script(source)


def connect(system: System, timeout: float = _TIMEOUT) -> Coordination:
    """The coordination Redis of a system; connects on first use. timeout: seconds to connect, and for each answer.

    Raises ConfigurationError where none is known.
    """
    url, options = coordination_address(system)
    client = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
        # Each try once: who calls knows whether to try again, and for how long.
        retry=Retry(NoBackoff(), 0),
        max_connections=2**31,  # of its own accord redis-py 8 makes a hundred in all, those that failed included
        **options,
    )
    return Coordination(client, system.settings.key_prefix, _streams(system, url))


def _streams(system: System, url: str) -> str | None:
    try:
        broker = system.celery.connection_for_write()
    except ConfigurationError:
        return None  # there is none
    address = broker.as_uri(include_password=True)
    if not schemes.is_streams(address):
        return None
    if system.settings.redis_url and redis_url(schemes.plain(address)) != url:
        return None
    return str(broker.transport_options.get("global_keyprefix", ""))


def coordination_url(system: System) -> str:
    """REDIS_URL, else the broker where that is Redis."""
    return coordination_address(system)[0]


def coordination_address(system: System) -> tuple[str, dict[str, Any]]:
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
