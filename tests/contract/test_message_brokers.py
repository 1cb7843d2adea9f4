"""The shipped contract of message brokers, on each broker; the table at the end of the run is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from events_core.brokers import ExchangeBroker, InMemoryBroker, RedisPubSubBroker, RedisStreamBroker
from events_core.testing.broker_contract import BrokerContract
from tests.support import markdown, processes, servers
from tests.support.message_brokers import Memory, OnKombu, OnRedis, pubsub, stream
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def unreliable_rabbitmq() -> Iterator[RabbitServer]:
    """One for all tests that restart it: it takes seconds to start."""
    mark = processes.started_so_far()
    server = servers.own_rabbitmq()
    processes.keep_since(mark)
    yield server
    server.close()


def test_the_page_promises_what_the_classes_do() -> None:
    rows = {row[0]: row[1:] for row in markdown.table(processes.ROOT / "docs" / "message-brokers.md", "broker")}
    expected = {
        "`ExchangeBroker` on RabbitMQ": ExchangeBroker("amqp://localhost"),
        "`ExchangeBroker` on Redis": ExchangeBroker("redis://localhost"),
        "`RedisStreamBroker`": RedisStreamBroker("redis://localhost"),
        "`RedisPubSubBroker`": RedisPubSubBroker("redis://localhost"),
        "`InMemoryBroker` (for tests)": InMemoryBroker(),
    }
    yes_or_no = {True: "yes", False: "no"}
    assert rows == {
        name: [yes_or_no.get(promised, promised) for promised in astuple(broker.promises)]
        for name, broker in expected.items()
    }


class TestInMemory(BrokerContract):
    promises = InMemoryBroker.promises
    has_server = False

    @pytest.fixture
    def server(self) -> Memory:
        return Memory()


class TestRedisPubSub(BrokerContract):
    promises = RedisPubSubBroker.promises

    @pytest.fixture
    def server(self, redis_url: str) -> OnRedis:
        return OnRedis(redis_url, *pubsub())

    @pytest.fixture
    def own_server(self, own_redis_server: RedisServer) -> OnRedis:
        return OnRedis(own_redis_server.url(), *pubsub(), server=own_redis_server)


class TestRedisStream(BrokerContract):
    promises = RedisStreamBroker.promises

    @pytest.fixture
    def server(self, redis_url: str) -> OnRedis:
        return OnRedis(redis_url, *stream())

    @pytest.fixture
    def own_server(self, own_redis_server: RedisServer) -> OnRedis:
        return OnRedis(own_redis_server.url(), *stream(), server=own_redis_server)


class TestRedisStreamForAllTopics(TestRedisStream):
    @pytest.fixture
    def server(self, redis_url: str) -> OnRedis:
        return OnRedis(redis_url, *stream("all-events"))

    @pytest.fixture
    def own_server(self, own_redis_server: RedisServer) -> OnRedis:
        return OnRedis(own_redis_server.url(), *stream("all-events"), server=own_redis_server)


class TestExchangeOnRedis(BrokerContract):
    promises = ExchangeBroker.promises

    @pytest.fixture
    def server(self, redis_url: str) -> OnKombu:
        return OnKombu(redis_url)

    @pytest.fixture
    def own_server(self, own_redis_server: RedisServer) -> OnKombu:
        return OnKombu(own_redis_server.url(), own_redis_server)


@pytest.mark.rabbitmq
class TestExchangeOnRabbitMQ(BrokerContract):
    promises = ExchangeBroker.promises

    @pytest.fixture
    def server(self, amqp_url: str) -> OnKombu:
        return OnKombu(amqp_url)

    @pytest.fixture
    def own_server(self, unreliable_rabbitmq: RabbitServer) -> OnKombu:
        return OnKombu(unreliable_rabbitmq.url(), unreliable_rabbitmq)
