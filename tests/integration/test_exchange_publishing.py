"""ExchangeBroker publishes: what arrives, what nobody is bound to, and what happens when the server does not answer."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import kombu
import pytest
from kombu.transport import memory

from events_core import EmitError
from events_core.brokers import ExchangeBroker, Subscription
from events_core.errors import ConfigurationError
from events_core.publishing.base import Deadline
from tests.support import servers
from tests.support.exchanges import Customer, Paid, Placed, connection_to, key_of, messages, numbers, publish, take
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.redis_server import connect

TIMEOUT = 1.0
ALL = frozenset({("orders", "#")})


@pytest.fixture
def broker(broker_url: str) -> Iterator[ExchangeBroker]:
    broker = ExchangeBroker(broker_url)
    yield broker
    broker.close()


def counts(error: EmitError) -> tuple[int, int, int]:
    return len(error.confirmed), len(error.uncertain), len(error.unsent)


def test_a_consumer_of_kombu_reads_it(broker: ExchangeBroker, broker_url: str) -> None:
    """What leaves is what kombu's own consumers expect: text, properties, exchange and routing key."""
    found: list[kombu.Message] = []
    event = Placed(number=7, text="東京")
    with connection_to(broker_url) as connection:
        exchange = kombu.Exchange("orders", "topic", durable=True)
        queue = kombu.Queue("theirs", exchange, routing_key="notification_event.exchange.order.*", durable=True)
        consumer = kombu.Consumer(connection, [queue], accept=None, on_message=found.append)
        with consumer:
            publish(broker, "orders", event)
            connection.drain_events(timeout=10)
        (message,) = found
        message.ack()
        assert json.loads(message.decode())["data"] == {"number": 7, "text": "東京"}
    assert message.content_type == "application/cloudevents+json"
    expected = {"message_id": str(event.event_id), "type": "exchange.order.placed", "delivery_mode": 2}
    assert expected.items() <= message.properties.items()
    assert message.properties["timestamp"] == int(event.occurred_at.timestamp())
    assert message.delivery_info["exchange"] == "orders"
    assert message.delivery_info["routing_key"] == "notification_event.exchange.order.placed"


def test_the_system_s_own_broker_is_the_default(broker_url: str) -> None:
    """Without a URL it uses what the EventSystem has, and without a system it says what to do."""
    broker = ExchangeBroker()
    with pytest.raises(ConfigurationError, match="give it to one"):
        broker.start()
    broker.attach("shop", lambda: broker_url)
    queue = Subscription("shop.orders", ALL)
    broker.declare(queue)
    publish(broker, "orders", Placed(number=1))
    receiver = broker.receiver(queue)
    (message,) = take(receiver, 1)
    assert json.loads(message.body)["source"] == "/shop"
    receiver.close()
    broker.close()


def test_a_key_prefix_keeps_everything_apart(redis_url: str) -> None:
    """kombu's global_keyprefix holds for the bindings and the queues alike."""
    redis_url = redis_url.removesuffix("/0") + "/9"  # where nobody else writes
    connection = kombu.Connection(redis_url, transport_options={"global_keyprefix": "shop:"})
    broker, queue = ExchangeBroker(connection), Subscription("queue", ALL)
    broker.declare(queue)
    publish(broker, "orders", Placed(number=1))
    receiver = broker.receiver(queue)
    assert numbers(take(receiver, 1)) == [1]
    with connect(redis_url) as client:
        assert all(key.startswith(b"shop:") for key in client.scan_iter())
    receiver.close()
    broker.close()


def test_one_call_to_redis_reads_the_bindings_once(redis_url: str) -> None:
    """However many messages it has, and one command carries all of a queue's."""
    broker = ExchangeBroker(redis_url)
    for name in ("mail", "shipping"):
        broker.declare(Subscription(name, ALL))
    batch = messages(broker, "orders", *(Placed(number=number) for number in range(100)))
    with connect(redis_url) as client:
        client.config_resetstat()
        broker.publish(batch, 10)
        stats = client.info("commandstats")
        assert client.xlen("stream:mail") == client.xlen("stream:shipping") == 100
    assert stats["cmdstat_smembers"]["calls"] == 2  # the topic's two sets
    assert stats["cmdstat_eval"]["calls"] == 2  # one for each queue
    broker.close()


class TestUnroutable:
    def test_it_is_told_once_and_counted_each_time(
        self, broker: ExchangeBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The default: emit succeeds, the log says it once for each routing key, a counter says how many."""
        broker.declare(Subscription("queue", frozenset({("orders", key_of(Placed))})))
        with caplog.at_level(logging.WARNING):
            for number in range(3):
                publish(broker, "orders", Placed(number=number, text="secret"), Paid(number=number))
            publish(broker, "orders", Customer())
        told = [record.getMessage() for record in caplog.records if record.name == "events_core.brokers.unheard"]
        assert [text.split(" of topic")[0] for text in told] == [
            f"nobody is bound to {key_of(Paid)}",
            f"nobody is bound to {key_of(Customer)}",
        ]
        assert broker.unroutable_count == 4
        assert "secret" not in caplog.text
        receiver = broker.receiver(Subscription("queue", frozenset()))
        assert numbers(take(receiver, 3)) == [0, 1, 2]
        receiver.close()

    def test_raise(self, broker_url: str) -> None:
        """emit fails, and tells which events arrived and which did not."""
        broker = ExchangeBroker(broker_url, unroutable="raise")
        broker.declare(Subscription("queue", frozenset({("orders", key_of(Placed))})))
        batch = messages(broker, "orders", Placed(), Paid(), Placed())
        with pytest.raises(
            EmitError, match=r"no queue is bound to notification_event\.exchange\.order\.paid"
        ) as caught:
            broker.publish(batch, 10)
        assert caught.value.confirmed == [batch[0].delivery, batch[2].delivery]
        assert caught.value.unsent == [batch[1].delivery]
        broker.close()

    def test_one_event_for_two_topics(self, broker_url: str) -> None:
        """In one call, and only one of the topics has a queue: each is told of by its own name."""
        broker = ExchangeBroker(broker_url, unroutable="raise")
        broker.declare(Subscription("queue", ALL))
        event = Placed()
        batch = [*messages(broker, "nobody", event), *messages(broker, "orders", event)]
        with pytest.raises(EmitError, match="of topic nobody") as caught:
            broker.publish(batch, 10)
        assert (caught.value.confirmed, caught.value.unsent) == ([batch[1].delivery], [batch[0].delivery])
        broker.close()

    def test_dead_letter(self, broker_url: str) -> None:
        """It is kept, whole, in a queue that anyone can read; also when that queue was deleted meanwhile."""
        broker = ExchangeBroker(broker_url, unroutable="dead_letter")
        broker.declare(Subscription("queue", frozenset({("orders", key_of(Placed))})))
        dead = Subscription("orders.unroutable", frozenset())
        for number in (1, 2):
            publish(broker, "orders", Placed(), Paid(number=number), Placed())
            receiver = broker.receiver(dead)
            (message,) = take(receiver, 1)
            assert numbers([message]) == [number]
            assert message.type == "exchange.order.paid"
            assert message.headers == {
                "events-dead-reason": "unroutable",
                "events-dead-topic": "orders",
                "events-dead-routing-key": key_of(Paid),
            }
            receiver.close()
            broker.delete(dead)
        broker.close()

    def test_an_alternate_exchange_gets_it(self, amqp_url: str) -> None:
        """RabbitMQ's own way: nothing is unroutable then."""
        with connection_to(amqp_url) as connection:
            others = kombu.Exchange("others", "fanout", durable=True)
            kombu.Queue("rest", others, durable=True)(connection.default_channel).declare()
        broker = ExchangeBroker(amqp_url, unroutable="raise", alternate_exchange="others")
        publish(broker, "orders", Placed(number=1))
        with connection_to(amqp_url) as connection:
            assert connection.SimpleQueue("rest", no_ack=True).get(timeout=10).headers == {}
        broker.close()

    def test_an_alternate_exchange_is_rabbitmq_s(self, redis_url: str) -> None:
        with pytest.raises(ConfigurationError, match="alternate_exchange= is RabbitMQ's"):
            ExchangeBroker(redis_url, alternate_exchange="others").start()

    def test_a_policy_that_there_is_not(self) -> None:
        with pytest.raises(ConfigurationError, match="'warn', 'raise', 'dead_letter'"):
            ExchangeBroker("redis://localhost", unroutable="ignore")  # type: ignore[arg-type]

    def test_a_consumer_s_own_queue_that_went_with_it(self, redis_url: str) -> None:
        """What is bound, and is there no more, fills no memory of Redis: it is unbound, and the event unroutable."""
        broker = ExchangeBroker(redis_url)
        receiver = broker.receiver(Subscription("mine", ALL, lasting=False))
        assert receiver.receive(0) == []
        publish(broker, "orders", Placed(number=1))
        assert broker.unroutable_count == 0
        with connect(redis_url) as client:
            client.delete("stream:mine")  # as it expires when its process was killed
            publish(broker, "orders", Placed(number=2))
            assert broker.unroutable_count == 1
            assert client.smembers("_kombu.binding.orders") == set()
            assert not client.exists("stream:mine")
        receiver.close()
        broker.close()


class TestConflicts:
    def test_the_exchange_exists_as_another_one(self, amqp_url: str) -> None:
        """It says which, and what to do; once that is done, the same broker works."""
        with connection_to(amqp_url) as connection:
            wrong = kombu.Exchange("orders", "fanout", durable=True)(connection.default_channel)
            wrong.declare()
            broker = ExchangeBroker(amqp_url)
            with pytest.raises(EmitError, match=r"exchange 'orders' exists on RabbitMQ .* delete exchange") as caught:
                publish(broker, "orders", Placed())
            assert counts(caught.value) == (0, 0, 1)
            with pytest.raises(ConfigurationError, match="exchange 'orders' exists"):
                broker.declare(Subscription("queue", ALL))
            wrong.delete()
            broker.declare(Subscription("queue", ALL))
            publish(broker, "orders", Placed())
            broker.close()

    def test_the_exchange_was_deleted_meanwhile(self, amqp_url: str) -> None:
        """emit tells of it, and emitting again declares it again."""
        broker = ExchangeBroker(amqp_url, unroutable="raise")
        broker.declare(Subscription("queue", ALL))
        batch = messages(broker, "orders", Placed())
        broker.publish(batch, 10)
        with connection_to(amqp_url) as connection:
            connection.default_channel.exchange_delete("orders")
        with pytest.raises(EmitError, match="NOT_FOUND"):
            broker.publish(batch, 10)
        broker.declare(Subscription("queue", ALL))
        broker.publish(batch, 10)
        broker.close()

    def test_after_an_exchange_was_deleted_one_call_fails_for_it(self, amqp_url: str) -> None:
        """However many connections of this process have declared it before."""
        broker: Any = ExchangeBroker(amqp_url)
        publish(broker, "orders", Placed())
        pool = broker._exchange._batches._pool
        first = pool.take(Deadline(10))
        publish(broker, "orders", Placed())  # on a second connection
        pool.give_back(first)
        with connection_to(amqp_url) as connection:
            connection.default_channel.exchange_delete("orders")
        with pytest.raises(EmitError, match="NOT_FOUND"):
            publish(broker, "orders", Placed())
        publish(broker, "orders", Placed())
        broker.close()

    def test_what_cannot_be_sent_is_told_of_like_all_that_fails(self, amqp_url: str) -> None:
        """Those before it are uncertain, those behind it unsent; nobody who shares the batch gets another error."""
        broker = ExchangeBroker(amqp_url)
        batch = messages(broker, "orders", Placed(), Placed(), Placed())
        batch[1].content_type = "x" * 300  # AMQP has no room for it
        with pytest.raises(EmitError, match="a message cannot be sent to RabbitMQ") as caught:
            broker.publish(batch, 10)
        assert counts(caught.value) == (0, 2, 1)
        broker.publish(batch[:1], 10)
        broker.close()

    def test_a_key_of_another_type_in_a_queue_s_place(self, redis_url: str) -> None:
        """One queue refuses, the other takes: of those for both it is uncertain where they went."""
        broker = ExchangeBroker(redis_url)
        broker.declare(Subscription("all", ALL))
        broker.declare(Subscription("paid", frozenset({("orders", key_of(Paid))})))
        with connect(redis_url) as client:
            client.set("stream:paid", "something else")
        batch = messages(broker, "orders", Placed(), Paid(), Placed())
        with pytest.raises(EmitError, match="WRONGTYPE") as caught:
            broker.publish(batch, 10)
        assert caught.value.confirmed == [batch[0].delivery, batch[2].delivery]
        assert caught.value.uncertain == [batch[1].delivery]
        assert caught.value.unsent == []
        broker.close()


@dataclass
class Proxied:
    """A broker behind a network that can be made to fail, and the direct address of the server."""

    broker: ExchangeBroker
    proxy: Proxy
    url: str

    def fails(self, *events: Placed) -> EmitError:
        """Publishes, and returns the error, which must come within the time."""
        started = time.monotonic()
        with pytest.raises(EmitError) as caught:
            publish(self.broker, "orders", *events, timeout=TIMEOUT)
        assert time.monotonic() - started < TIMEOUT + 5  # 1 on a machine that is not shared
        return caught.value

    def arrived(self, count: int) -> list[int]:
        receiver = ExchangeBroker(self.url).receiver(Subscription("queue", ALL), 1000)
        found = numbers(take(receiver, count))
        receiver.close()
        return found


@pytest.fixture
def proxied(broker_url: str) -> Iterator[Proxied]:
    port = urlsplit(broker_url).port
    assert port is not None
    with Proxy(port) as proxy:
        broker = ExchangeBroker(broker_url.replace(f":{port}", f":{proxy.port}"))
        broker.declare(Subscription("queue", ALL))
        yield Proxied(broker, proxy, broker_url)
        broker.close()


class TestFailures:
    def test_a_connection_cut_while_idle_is_not_noticed(self, proxied: Proxied) -> None:
        publish(proxied.broker, "orders", Placed(number=1))
        proxied.proxy.cut()
        publish(proxied.broker, "orders", Placed(number=2))
        assert proxied.arrived(2) == [1, 2]

    def test_a_black_hole_on_a_connection_in_use(self, proxied: Proxied) -> None:
        """Nothing is called confirmed, the error comes in time, and emitting again works."""
        publish(proxied.broker, "orders", Placed(number=1))
        proxied.proxy.blackhole()
        error = proxied.fails(*(Placed(number=number, text="x" * 10_000) for number in range(500)))
        assert error.confirmed == []
        assert sum(counts(error)) == 500
        proxied.proxy.heal()
        publish(proxied.broker, "orders", Placed(number=2))
        assert proxied.arrived(2) == [1, 2]

    def test_a_server_that_is_down(self, broker_url: str) -> None:
        nowhere = broker_url.replace(f":{urlsplit(broker_url).port}", f":{free_port()}")
        broker = ExchangeBroker(nowhere)
        with pytest.raises(EmitError, match="cannot be reached") as caught:
            publish(broker, "orders", Placed(), Placed(), timeout=0.3)
        assert counts(caught.value) == (0, 0, 2)
        with pytest.raises(ConnectionError, match="cannot be reached"):
            broker.start()

    def test_a_wrong_password(self, broker_url: str) -> None:
        """It is told at once, by what sets up as a wrong configuration; the password is not in the error."""
        password = urlsplit(broker_url).password
        assert password is not None
        broker = ExchangeBroker(broker_url.replace(password, "sesame"))
        with pytest.raises(EmitError) as caught:
            publish(broker, "orders", Placed(), timeout=60)
        with pytest.raises(ConfigurationError) as told:
            broker.start()
        assert "sesame" not in f"{caught.value}{told.value}"

    def test_a_server_that_was_away_for_long(self, own_redis_server: servers.RedisServer) -> None:
        """redis-py's pools make a hundred connections in their life: an emitter that tried as often goes on."""
        broker = ExchangeBroker(own_redis_server.url())
        broker.declare(Subscription("queue", ALL))
        own_redis_server.stop()
        for _ in range(110):
            with pytest.raises(EmitError):
                publish(broker, "orders", Placed(), timeout=0.01)
        own_redis_server.start()
        publish(broker, "orders", Placed(number=1))
        assert broker.unroutable_count == 0
        broker.close()


@pytest.mark.parametrize("transport", ["memory", "filesystem"])
def test_other_transports_of_kombu(transport: str, tmp_path: object) -> None:
    """One by one, over whatever has topic exchanges; unroutable events are told of here too."""
    folders = ("data_folder_in", "data_folder_out", "control_folder")
    connection = kombu.Connection(f"{transport}://localhost", transport_options=dict.fromkeys(folders, f"{tmp_path}"))
    broker = ExchangeBroker(connection, unroutable="raise")
    assert broker.promises.delivery == "at most once"
    queue = Subscription("queue", frozenset({("orders", key_of(Placed))}))
    broker.declare(queue)
    publish(broker, "orders", *(Placed(number=number) for number in range(3)))
    with pytest.raises(EmitError, match="no queue is bound"):
        publish(broker, "orders", Paid())
    receiver = broker.receiver(queue)
    found = take(receiver, 3)
    assert sorted(numbers(found)) == [0, 1, 2]
    assert found[0].type == "exchange.order.placed"
    receiver.acknowledge(found[:1])
    receiver.give_back(found[1:2])
    assert numbers(take(receiver, 1)) == numbers(found[1:2])
    receiver.close()
    again = broker.receiver(queue)
    assert sorted(numbers(take(again, 2))) == sorted(numbers(found[1:]))
    again.close()
    broker.delete(queue)
    broker.close()


def test_a_transport_without_topics() -> None:
    class DirectOnly(memory.Transport):
        implements = memory.Transport.implements.extend(exchange_type=frozenset(["direct"]))

    with pytest.raises(ConfigurationError, match="has no topic exchanges"):
        ExchangeBroker(kombu.Connection(transport=DirectOnly)).start()


def test_a_call_with_several_topics(broker: ExchangeBroker) -> None:
    """Each topic has an exchange of its own, and a call may have several topics in it."""
    names = [f"topic-{number}" for number in range(5)]
    queue = Subscription("queue", frozenset((name, "#") for name in names))
    broker.declare(queue)
    batch = [message for name in names for message in messages(broker, name, *(Placed(number=n) for n in range(20)))]
    broker.publish(batch, 30)
    receiver = broker.receiver(queue, 200)
    found = take(receiver, 100)
    for name in names:
        assert numbers([message for message in found if message.topic == name]) == [*range(20)]
    receiver.close()
