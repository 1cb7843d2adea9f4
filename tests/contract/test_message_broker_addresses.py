"""The message brokers on Redis, by every way in which it can be reached: as a URL, and as somebody's client."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import redis
from redis.sentinel import Sentinel

from events_core.brokers import MessageBroker, RedisPubSubBroker, RedisStreamBroker
from events_core.publishing.connect import redis_url
from events_core.testing.broker_desk import Desk, Opened
from tests.contract.redis_forms import RedisForms
from tests.support.message_brokers import OnRedis

BROKERS = [RedisPubSubBroker, RedisStreamBroker]
FORMS = ["tcp", "as_user", "unix", "tls"]


@pytest.fixture
def empty(forms: RedisForms) -> RedisForms:
    forms.server.empty()
    return forms


def exercise(url: str, broker: MessageBroker) -> None:
    """More than a connection buffers, forth and back."""
    desk = Desk(OnRedis(url, lambda _: broker, lambda client, topic, body: None))
    receiver = desk.listen(desk.queue(Opened, lasting=isinstance(broker, RedisStreamBroker)), prefetch=500)
    broker.start()
    desk.publish(*(Opened(number=number, text="ö" * 1000) for number in range(500)))
    messages = desk.take(receiver, 500)
    assert desk.numbers(messages) == [*range(500)]
    receiver.acknowledge(messages)
    assert desk.empty(receiver) == []
    desk.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("broker", BROKERS)
def test_by_url(empty: RedisForms, form: str, broker: type[RedisPubSubBroker | RedisStreamBroker]) -> None:
    url = getattr(empty, form)("stock").url
    exercise(redis_url(url), broker(url))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("broker", BROKERS)
def test_by_client(empty: RedisForms, form: str, broker: type[RedisPubSubBroker | RedisStreamBroker]) -> None:
    url = redis_url(getattr(empty, form)("stock").url)
    with redis.Redis.from_url(url, decode_responses=True) as client:
        exercise(url, broker(client))


@pytest.mark.parametrize("broker", BROKERS)
def test_by_a_client_that_asks_sentinels(
    empty: RedisForms, broker: type[RedisPubSubBroker | RedisStreamBroker]
) -> None:
    place = urlsplit(empty.sentinel("stock").url)
    sentinel = Sentinel([(str(place.hostname), int(place.port or 0))])
    with sentinel.master_for("main", password=place.password) as client:
        exercise(empty.server.url(), broker(client))
