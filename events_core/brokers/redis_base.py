"""What the brokers on plain Redis share: the connection, and publishing one command for each event."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.asyncio

from events_core.brokers.base import Format, FormatName, IntegrationMessage, MessageBroker
from events_core.brokers.redis_wire import RedisWire, lost_is_os_error, raise_refusals, refusal_is_configuration
from events_core.errors import ConfigurationError
from events_core.publishing.connect import redis_url
from events_core.publishing.redis_pipeline import RedisPipeline, connections, connections_like


class RedisBroker(MessageBroker):
    """Publishes each event by one command, all in one write.

    url: ``redis://``, ``rediss://`` or ``unix://``; or an existing client (`redis.Redis`, `redis.asyncio.Redis`), of
    which the address, credentials and TLS options are taken and connections of our own are made: a client's may try
    again by themselves, which would publish twice and outlast the deadline. None: the system's own broker.
    Raises ConfigurationError for another kind of client, and for a URL that is no Redis.
    """

    binds_receivers = True

    def __init__(self, url: str | redis.Redis | redis.asyncio.Redis | None, format: FormatName | Format) -> None:
        super().__init__(format)
        self._client = (
            url if isinstance(url, redis.Redis | redis.asyncio.Redis) else None
        )  # its pool may know where the master is
        self._made: redis.ConnectionPool | None = None
        self._default_url: Callable[[], str] | None = None
        if isinstance(url, str):
            self._made = connections(redis_url(url))
        elif self._client is not None:
            try:
                self._made = connections_like(self._client)
            except KeyError:
                raise ConfigurationError(
                    f"{type(self).__name__} cannot tell where this asyncio client connects to: give it a URL, or a "
                    "synchronous redis.Redis"
                ) from None
        elif url is not None:
            raise ConfigurationError(
                f"{type(self).__name__} takes a URL, a redis.Redis or a redis.asyncio.Redis, not a "
                f"{type(url).__name__}: for a cluster, give the URL of one Redis"
            )

    def attach(self, system: str, default_url: Callable[[], str]) -> None:
        """See `MessageBroker.attach`."""
        super().attach(system, default_url)
        self._default_url = default_url

    @property
    def connections(self) -> redis.ConnectionPool:
        """What makes connections. Raises ConfigurationError without a URL that is a Redis's."""
        if self._made is None:
            if self._default_url is None:
                raise ConfigurationError(f"{type(self).__name__} has no URL: give it one, such as redis://localhost/0")
            self._made = connections(redis_url(self._default_url()))
        return self._made

    def server(self) -> str:
        """See `MessageBroker.server`."""
        options = self.connections.connection_kwargs
        if "path" in options:
            return f"unix://{options['path']}?db={options.get('db') or 0}"
        secure = issubclass(self.connections.connection_class, redis.SSLConnection)
        place = f"{options.get('host') or 'localhost'}:{options.get('port') or 6379}/{options.get('db') or 0}"
        return f"{'rediss' if secure else 'redis'}://{place}"

    def start(self) -> None:
        """See `MessageBroker.start`."""
        self.call(("PING",))

    def call(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies to commands, on a connection that is closed again.

        Raises OSError when Redis cannot be reached, ConfigurationError when it will never do it.
        """
        if not commands:
            return []
        wire = RedisWire(self.connections)
        try:
            with lost_is_os_error(type(self).__name__), refusal_is_configuration(type(self).__name__):
                replies = wire.call(*commands)
                raise_refusals(replies)
                return replies
        finally:
            wire.close()

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """See `MessageBroker.publish`."""
        commands = [self._command(message) for message in messages]
        replies = self._publisher.publish(commands, [[message.delivery] for message in messages], timeout)
        self._published(messages, replies)

    def close(self) -> None:
        """See `MessageBroker.close`."""
        publisher = self.__dict__.get("_made_publisher")
        if publisher is not None:
            publisher.close()

    @property
    def _publisher(self) -> RedisPipeline:
        made: RedisPipeline | None = self.__dict__.get("_made_publisher")
        # One step, without a lock that a fork could leave locked: of two threads, one's comes to nothing.
        return made or self.__dict__.setdefault("_made_publisher", RedisPipeline(self.connections))

    @abstractmethod
    def _command(self, message: IntegrationMessage) -> tuple[Any, ...]:
        """The command that publishes one event."""

    def _published(self, messages: Sequence[IntegrationMessage], replies: Sequence[Any]) -> None:
        """Called with Redis's replies, once all are confirmed."""
