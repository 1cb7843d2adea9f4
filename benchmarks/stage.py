"""The servers that benchmarks run on: those of the tests, started when a benchmark first needs one."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import kombu
import redis

from benchmarks.rounds import Effort
from events_core.transport import keys
from events_core.transport.schemes import with_streams
from tests.support import servers

_numbers = itertools.count(1)


def stream_of(queue: str) -> str:
    """The key of a queue on our Redis transport."""
    return keys.stream_key("", queue)


def newest(client: redis.Redis, queue: str) -> bytes:
    """The message that was published last to a queue on our Redis transport."""
    entries: Any = client.xrevrange(stream_of(queue), count=1)
    return bytes(entries[0][1][keys.FIELD.encode()])


@dataclass(frozen=True)
class Broker:
    """A broker that nothing else uses, and the Redis that goes with it."""

    name: str
    url: str
    redis_url: str

    @property
    def env(self) -> dict[str, str]:
        """For processes: our settings; plain Celery and dramatiq read the same variables."""
        return {"EVENTS_BROKER_URL": self.url, "EVENTS_REDIS_URL": self.redis_url}

    @property
    def same_transport(self) -> Broker:
        """For plain Celery: this broker through the transport that an EventSystem uses on it."""
        return replace(self, url=with_streams(self.url))

    def drop(self, *queues: str) -> None:
        """Delete what waits in queues that exist."""
        if self.url == self.redis_url:
            with redis.Redis.from_url(self.redis_url) as client:
                client.delete(*queues, *map(stream_of, queues))
            return
        with kombu.Connection(self.url) as connection:
            for queue in queues:
                connection.default_channel.queue_purge(queue)


class Stage:
    """Gives brokers to benchmarks. To be used in a `with` statement, which ends the servers."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self._ends = ExitStack()
        self._redis: servers.RedisServer | servers.GivenRedis | None = None
        self._rabbitmq: servers.RabbitServer | servers.GivenRabbit | None = None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def brokers(self) -> tuple[Broker, Broker]:
        """Both brokers, RabbitMQ last."""
        return self.redis(), self.rabbitmq()

    def redis(self) -> Broker:
        """An empty Redis, as broker and for coordination."""
        url = self._empty_redis()
        return Broker("Redis", url, url)

    def rabbitmq(self) -> Broker:
        """An empty vhost of RabbitMQ, with an empty Redis for coordination."""
        if self._rabbitmq is None:
            self._rabbitmq = servers.shared_rabbitmq()
            self._ends.callback(self._rabbitmq.close)
        server = self._rabbitmq
        vhost = f"bench-{next(_numbers)}"
        url = server.add_vhost(vhost)
        self._ends.callback(server.drop_vhost, vhost)
        return Broker("RabbitMQ", url, self._empty_redis())

    def _empty_redis(self) -> str:
        if self._redis is None:
            self._redis = servers.shared_redis()
            self._ends.callback(self._redis.close)
        return self._redis.empty()
