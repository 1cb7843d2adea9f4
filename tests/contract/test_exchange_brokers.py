"""The shipped contract of message brokers, on topic exchanges of RabbitMQ and of Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events_core.brokers import ExchangeBroker
from events_core.testing.broker_contract import BrokerContract
from tests.support.exchanges import InMemory, OnExchanges
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer


class TestExchangesOfRabbitMQ(BrokerContract):
    promises = ExchangeBroker.promises

    @pytest.fixture
    def server(self, amqp_url: str) -> OnExchanges:
        return OnExchanges(amqp_url)

    @pytest.fixture
    def own_server(self, own_rabbitmq_server: RabbitServer) -> OnExchanges:
        return OnExchanges(own_rabbitmq_server.url, own_rabbitmq_server)


class TestExchangesOfRedis(BrokerContract):
    promises = ExchangeBroker.promises

    @pytest.fixture
    def server(self, redis_url: str) -> OnExchanges:
        return OnExchanges(redis_url)

    @pytest.fixture
    def own_server(self, own_redis_server: RedisServer) -> OnExchanges:
        return OnExchanges(own_redis_server.url, own_redis_server)


class TestExchangesOfKombu(BrokerContract):
    """Its memory transport keeps all that a queue can, as long as the process lives; it does not promise it."""

    promises = replace(ExchangeBroker.promises, durable=False)
    has_server = False
    test_it_promises_what_is_tested = None
    # it does not tell that a message was delivered before
    test_what_is_given_back_comes_again = test_what_is_acknowledged_does_not_come_again = None

    @pytest.fixture
    def server(self) -> InMemory:
        return InMemory()
