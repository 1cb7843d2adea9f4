"""What is given to message brokers by mistake: refused where it is given, by name, and without its secrets."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
import redis

from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker, InMemoryBroker, RedisPubSubBroker, RedisStreamBroker, Subscription
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EventDefinitionError
from events_core.publishing.connect import redis_url


class Sent(NotificationEvent, event_type="mistakes.sent"):
    """Published by these tests."""


@pytest.mark.parametrize("given", ["amqp://localhost", InMemoryBroker, 5, ["amqp://localhost"]])
def test_a_system_takes_message_brokers_only(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="message_broker= takes a message broker, such as ExchangeBroker"):
        EventSystem("shop", broker_url="redis://localhost", message_broker=given)


@pytest.mark.parametrize("given", [redis.Redis(), redis.asyncio.Redis(), ["amqp://localhost"], 5, b"amqp://localhost"])
def test_exchanges_take_urls_and_connections_only(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"takes a URL or a kombu\.Connection, not a"):
        ExchangeBroker(given)


@pytest.mark.parametrize("given", ["", "localhost", "user:hidden@rabbit:5672", "embedded"])
def test_a_text_that_is_no_url(given: str) -> None:
    """Kombu takes it for a host with RabbitMQ: an empty setting would lead to this machine, as guest."""
    with pytest.raises(ConfigurationError, match="a text that is no URL") as caught:
        ExchangeBroker(given)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("character", ["/", "#", "?"])
@pytest.mark.parametrize(
    "make",
    [
        ExchangeBroker,
        RedisStreamBroker,
        RedisPubSubBroker,
        redis_url,
        lambda url: EventSystem("shop", broker_url=url).celery,
    ],
)
@pytest.mark.parametrize("secret", ["qz{}kx", "12{}34"])  # the first half of the second could be a port
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_password_that_cuts_its_url(make: Any, character: str, secret: str, scheme: str) -> None:
    """A URL with such a password leads anywhere; the error says what to do, and shows nothing of it."""
    password = secret.format(character)
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        make(f"{scheme}://user:{password}@127.0.0.1:6379/0")
    told = "".join(traceback.format_exception_only(caught.value))
    assert not any(part in told for part in password.split(character))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", ["http://user:secret@localhost", "amqq://user:secret@localhost"])
def test_a_scheme_that_nobody_knows(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"No such transport: (http|amqq)") as caught:
        ExchangeBroker(url).start()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["amqp://user:p%40ss@host:5672//", "amqp://host/v", "redis+socket:///run/a@b.sock", "redis://:p%23@host/0?a=b"],
)
def test_urls_that_are_in_order(url: str) -> None:
    ExchangeBroker(url)


@pytest.mark.parametrize("claim_after", [0, 0.5, -1, "5", None, True, float("inf"), float("nan")])
def test_a_claim_after_that_cannot_work(claim_after: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"claim_after=.*at least 1"):
        RedisStreamBroker("redis://localhost", claim_after=claim_after)


@pytest.mark.parametrize("max_length", [0, -1, "5", 5.0, True])
def test_a_max_length_that_cannot_work(max_length: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_length=.*from 1 on, or None"):
        RedisStreamBroker("redis://localhost", max_length=max_length)


class TestLongNames:
    """AMQP carries names of at most 255 bytes: a longer one is told of where it is given."""

    @pytest.mark.parametrize("topic", ["x" * 256, "ü" * 128, "\ud800" * 300])
    def test_a_topic(self, topic: str) -> None:
        broker, event = InMemoryBroker(), Sent()
        broker.message(event, Envelope.of(event), "ü" * 127)
        with pytest.raises(ConfigurationError, match="is too long"):
            broker.message(event, Envelope.of(event), topic)

    def test_a_queue_and_its_bindings(self) -> None:
        long = "ü" * 128
        for queue, binding in ((long, ("t", "#")), ("q", (long, "#")), ("q", ("t", long))):
            with pytest.raises(ConfigurationError, match="is too long"):
                Subscription(queue, frozenset({binding}))

    def test_a_type(self) -> None:
        """Its routing key has the kind before it."""
        with pytest.raises(EventDefinitionError, match="event_type must be a text of 1 to 200 bytes"):
            type("Long", (NotificationEvent,), {"__module__": __name__}, event_type="ü" * 101)

    @pytest.mark.parametrize("topic", ["two words", "a*", "a.#", "ü" * 101])
    def test_the_topic_of_a_class(self, topic: str) -> None:
        with pytest.raises(EventDefinitionError, match="topic must be a text of 1 to 200 bytes, without blanks"):
            type("Odd", (NotificationEvent,), {"__module__": __name__}, topic=topic)


def test_a_broker_belongs_to_one_system() -> None:
    """Shared by two it would call the events of the first those of the second."""
    broker = InMemoryBroker()
    EventSystem("shop", broker_url="redis://localhost", message_broker=broker)
    EventSystem("shop", broker_url="redis://localhost", message_broker=broker)  # as in tests, one after the other
    with pytest.raises(ConfigurationError, match="carries the events of 'shop' already: give 'billing' one of its own"):
        EventSystem("billing", broker_url="redis://localhost", message_broker=broker)
    assert broker.source == "/shop"


def test_the_same_system_may_have_a_bus() -> None:
    system = EventSystem("shop", broker_url="redis://localhost", message_broker=InMemoryBroker())

    async def main() -> None:
        system.bus()

    asyncio.run(main())
