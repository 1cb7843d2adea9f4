"""Where an ExchangeBroker's server is: by a URL, or by a kombu connection."""

from __future__ import annotations

from typing import Any

import kombu

from events_core.errors import ConfigurationError
from events_core.settings import broker_kind, require_readable
from events_core.transport import schemes


def check(given: Any) -> None:
    """Raise ConfigurationError for what is no address at all."""
    if not isinstance(given, str | kombu.Connection):
        raise ConfigurationError(
            f"ExchangeBroker takes a URL or a kombu.Connection, not a {type(given).__name__}: RedisStreamBroker and "
            "RedisPubSubBroker take a redis.Redis"
        )
    if isinstance(given, str) and "://" not in given:  # kombu would take it for a host with RabbitMQ
        raise ConfigurationError(
            "ExchangeBroker was given a text that is no URL: write amqp://localhost:5672// or redis://localhost/0, "
            "or leave it out for the broker of the EventSystem"
        )
    if isinstance(given, str) and ";" not in given:
        require_readable(given, "the URL of ExchangeBroker")


def is_known(given: str | kombu.Connection) -> bool:
    """Whether it leads to a RabbitMQ or a Redis, of which we know what they keep."""
    url = given.as_uri() if isinstance(given, kombu.Connection) else given
    return broker_kind(schemes.plain(url)) is not None


def connection_to(given: str | kombu.Connection) -> kombu.Connection:
    """A connection there, to a Redis over our transport. Raises ConfigurationError for a scheme that nobody knows."""
    if isinstance(given, kombu.Connection):
        url = given.as_uri(include_password=True)
        streams = _over_streams(url)
        if streams == url:
            return given
        return kombu.Connection(streams, ssl=given.ssl, transport_options=given.transport_options)
    try:
        return kombu.Connection(_over_streams(given))
    except KeyError as error:
        raise ConfigurationError(
            f"ExchangeBroker: {error.args[0]}: give it amqp://, redis:// or another transport of kombu's"
        ) from None


def _over_streams(url: str) -> str:
    return schemes.with_streams(schemes.plain(url))
