"""The servers that the contract of message brokers runs on, as it wants them."""

from __future__ import annotations

from collections.abc import Callable

import kombu
import redis

import events_core.transport  # noqa: F401  (registers redis-streams://)
from events_core.brokers import ExchangeBroker, InMemoryBroker, MessageBroker, RedisPubSubBroker, RedisStreamBroker
from tests.support import processes
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer, connect

CLAIM_AFTER = 1.0
"""Seconds after which a dead consumer's share is taken over."""

Make = Callable[[str], MessageBroker]
Put = Callable[[redis.Redis, str, bytes], object]


class Memory:
    """A broker without a server."""

    def __init__(self) -> None:
        self._broker = InMemoryBroker()

    def broker(self) -> InMemoryBroker:
        return self._broker

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        self._broker.put(topic, body, routing_key)


class OnServer:
    """What tests do to a server that they may end."""

    def __init__(self, server: RedisServer | RabbitServer | None) -> None:
        self._server = server

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def start(self) -> None:
        """Its new process outlives the test, as the first one does."""
        assert self._server is not None
        mark = processes.started_so_far()
        self._server.start()
        processes.keep_since(mark)


class OnRedis(OnServer):
    """A broker on Redis, and how a stranger publishes there."""

    def __init__(self, url: str, make: Make, put: Put, server: RedisServer | None = None) -> None:
        super().__init__(server)
        self._url, self._make, self._put = url, make, put

    def broker(self) -> MessageBroker:
        return self._make(self._url)

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        with connect(self._url) as client:
            self._put(client, topic, body)


class OnKombu(OnServer):
    """ExchangeBroker, and a stranger who uses kombu alone."""

    def __init__(self, url: str, server: RedisServer | RabbitServer | None = None) -> None:
        super().__init__(server)
        self._url = url

    def broker(self) -> MessageBroker:
        options = {"claim_after": CLAIM_AFTER} if self._url.startswith("redis") else {}
        return ExchangeBroker(kombu.Connection(self._url, transport_options=options))

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        with kombu.Connection(self._url.replace("redis://", "redis-streams://", 1)) as connection:
            producer = kombu.Producer(connection, kombu.Exchange(topic, "topic"), auto_declare=False)
            producer.publish(
                body, routing_key, content_type="application/json", content_encoding="binary", serializer=None
            )


def pubsub() -> tuple[Make, Put]:
    """Redis Pub/Sub."""
    return RedisPubSubBroker, lambda client, topic, body: client.publish(
        "python_diator_channel:notification_event:1", body
    )


def stream(name: str | None = None) -> tuple[Make, Put]:
    """Redis streams. name: of the one for all topics."""
    return (
        lambda url: RedisStreamBroker(url, stream_name=name, claim_after=CLAIM_AFTER),
        lambda client, topic, body: client.xadd(name or topic, {"payload": body}),
    )
