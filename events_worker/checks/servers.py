"""The servers' own settings: are they such that nothing confirmed is lost?

Of a Redis only INFO is asked, which hosted ones allow too (CONFIG is often forbidden there).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core import ConfigurationError, EventSystem
from events_core.coordination import coordination_address
from events_core.publishing.connect import redis_address
from events_worker.checks.finding import Finding, shown_url

#: Seconds that one server is waited for.
PATIENCE = 3.0
#: The first Redis with all the commands that the transport and the worker use.
_OLDEST = (6, 2)


def check_servers(system: EventSystem) -> Iterator[Finding]:
    """Findings on the broker and the coordination Redis. Starts no embedded Redis."""
    if system.settings.embedded and system.owns_celery:
        yield Finding(
            "deploy",
            "the broker is the embedded Redis, which is for development: set EVENTS_BROKER_URL to a Redis or RabbitMQ",
        )
        return
    try:
        broker = system.celery.connection_for_write(connect_timeout=PATIENCE)
        looked_at, options = coordination_address(system)
    except ConfigurationError:
        return  # said by the static checks
    driver = broker.transport.driver_type
    yield from _check_redis("coordination Redis", looked_at, options)
    if driver == "amqp":
        yield from _check_amqp(broker)
    elif driver == "redis" and redis_address(broker)[0] != looked_at:
        yield from _check_redis("broker", *redis_address(broker))


def probe(url: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a Redis says of itself. Raises redis.RedisError within a few seconds, for one try is all."""
    with redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **options or {},
    ) as client:
        client.ping()
        try:
            said = client.info()
        except redis.ResponseError:
            return {}  # this user may not ask
    return dict(said)


def _check_redis(what: str, url: str, options: dict[str, Any]) -> Iterator[Finding]:
    name = f"the {what} {shown_url(url)}"
    try:
        said = probe(url, options)
    except (redis.RedisError, OSError, ValueError) as error:
        yield Finding("deploy", f"{name} cannot be reached: {error}")
        return
    if not said:
        yield Finding(
            "warning", f"{name} does not let us see its settings (INFO): check by hand that it keeps all data"
        )
        return
    yield from judge(name, said)


def judge(name: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Findings on what a Redis says of itself (INFO)."""
    version = str(said.get("redis_version", ""))
    if version and _number_of(version) < _OLDEST:
        yield Finding("error", f"{name} is version {version}: 6.2 or newer is needed")
    policy = said.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding("deploy", f"{name} may evict what is confirmed (maxmemory-policy {policy}): set it to noeviction")
    if not said.get("aof_enabled"):
        yield Finding("deploy", f"{name} forgets what is confirmed when it restarts: set appendonly yes")
    if said.get("role") == "slave":
        yield Finding("deploy", f"{name} is a replica, which cannot be written to: name the primary")
    if said.get("redis_mode") == "cluster" or said.get("cluster_enabled"):
        yield Finding("deploy", f"{name} runs in Redis Cluster mode, which is not supported: use a single Redis")


def _number_of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _check_amqp(broker: Any) -> Iterator[Finding]:
    try:
        broker.transport_options = {**broker.transport_options, "read_timeout": PATIENCE, "write_timeout": PATIENCE}
        # not broker.connect(), which tries again by itself
        broker.transport.close_connection(broker.transport.establish_connection())
    except Exception as error:  # amqp, ssl, socket: whatever it is, it is the finding
        reason = str(error).strip() or type(error).__name__
        yield Finding("deploy", f"the broker {shown_url(broker.as_uri())} cannot be reached: {reason}")
