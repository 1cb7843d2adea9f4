"""The publisher that fits a Celery app's broker."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import kombu
from celery import Celery

from events_core.errors import ConfigurationError
from events_core.publishing.amqp import AMQPPublisher
from events_core.publishing.base import Publisher
from events_core.publishing.queues import queue_declaration
from events_core.publishing.redis import RedisPublisher
from events_core.settings import require_one_address, require_readable, without_password
from events_core.transport import schemes
from events_core.transport.streams import Transport as StreamsTransport


def publisher_for(app: Celery, *, quorum_queues: bool) -> Publisher:
    """A publisher to the app's broker. Raises ConfigurationError for a broker that is neither Redis nor RabbitMQ."""
    connection = app.connection_for_write()
    if len(connection.alt) > 1:
        raise ConfigurationError(
            "the Celery app's broker_url names several addresses, of which emit would only try the first: give one, "
            "such as that of a load balancer before the brokers"
        )
    driver = connection.transport.driver_type
    if driver == "redis":
        url, options = redis_address(connection)
        prefix = connection.transport_options.get("global_keyprefix", "")
        return RedisPublisher(url, options, prefix, streams=isinstance(connection.transport, StreamsTransport))
    if driver == "amqp":
        return AMQPPublisher(connection, lambda name: queue_declaration(app, name, quorum=quorum_queues))
    raise ConfigurationError(
        f"the broker {without_password(connection.as_uri())} is neither Redis nor RabbitMQ: deliveries need one of them"
    )


def counts_deliveries(app: Celery) -> bool:
    """Whether the app's broker tells how often a message was delivered in vain, as quorum queues only nearly do."""
    return isinstance(app.connection_for_read().transport, StreamsTransport)


def redis_address(connection: kombu.Connection) -> tuple[str, dict[str, Any]]:
    """Where a Redis broker is: redis-py's URL, and its options for TLS (`broker_use_ssl`, or those of the URL)."""
    url = redis_url(connection.as_uri(include_password=True))
    options: dict[str, Any] = dict(connection.ssl) if isinstance(connection.ssl, dict) else {}
    if options and url.startswith("redis://"):  # to kombu the options alone mean TLS
        url = "rediss://" + url.removeprefix("redis://")
    return url, options


def redis_url(url: str) -> str:
    """kombu's form of a Redis URL in redis-py's. Raises ConfigurationError for forms that cannot be used."""
    require_one_address(url, "the address of the Redis")
    require_readable(url, "the address of the Redis")
    parts = urlsplit(url := schemes.plain(url))
    if parts.scheme in ("redis", "rediss", "unix"):
        return url
    if parts.scheme in ("redis+socket", "socket"):
        query = dict(parse_qsl(parts.query))
        query["db"] = query.pop("virtual_host", query.get("db", "0")).strip("/") or "0"
        return f"unix://{parts.netloc}{parts.path}?{urlencode(query)}"
    raise ConfigurationError(
        f"{without_password(url)} cannot be used: give a single Redis as redis://, rediss:// or redis+socket://"
    )
