"""The ways to reach a Redis, and what is written to it under which keys."""

from __future__ import annotations

import kombu
import pytest

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised
from tests.contract.redis_forms import RedisForms


def exercise(broker: Broker, **options: object) -> None:
    """A little of everything: names, topics, fanout, several deliveries, a batch."""
    plain = broker.queue("-plain")
    topic = broker.queue("-topic", exchange=kombu.Exchange(f"{broker.name}-t", type="topic"), routing_key="a.*")
    fanout = broker.queue("-fanout", exchange=kombu.Exchange(f"{broker.name}-f", type="fanout"), auto_delete=True)
    with broker.connect(**options) as connection, broker.connect(**options) as other:
        inbox, listener = Inbox(connection, plain, topic), Inbox(other, fanout, no_ack=True)
        listener.look()
        broker.wait_for_subscribers(1)
        producer = kombu.Producer(connection.channel(), serializer="json")
        with producer.batch():
            producer.publish("plain", routing_key=plain.name)
            producer.publish("topic", exchange=topic.exchange, routing_key="a.b")
        producer.publish("fanout", exchange=fanout.exchange, declare=[fanout.exchange])
        assert sorted(inbox.wait(2)) == ["plain", "topic"]
        assert listener.wait(1) == ["fanout"]
        inbox.messages[0].requeue()
        inbox.wait(3)
        inbox.messages[1].ack()
        inbox.messages[2].ack()
        send(connection, plain, 1, 2)
        inbox.wait(5)
    with broker.connect(**options) as connection:
        assert plain.bind(connection.default_channel).queue_declare().message_count == 2
        assert plain.bind(connection.default_channel).purge() == 2


@promised("is_redis")
def test_no_key_lies_outside_the_prefix(broker: Broker, forms: RedisForms) -> None:
    """The option global_keyprefix goes before every key, those of bindings and of recovery included."""
    alone = forms.tcp(broker.kind, 3)  # a database in which this process has never been without a prefix
    exercise(alone, global_keyprefix="mine:")
    assert [key for key in alone.all_keys() if not key.startswith("mine:")] == []
    with alone.connect(global_keyprefix="mine:") as connection:
        send(connection, alone.queue(), 1, 2)
        Inbox(connection, alone.queue()).wait(2)
        keys = alone.all_keys()
        assert len(keys) > 0
        assert [key for key in keys if not key.startswith("mine:")] == []


@promised("is_redis")
def test_two_prefixes_do_not_see_each_other(broker: Broker) -> None:
    """Neither by a queue's name, nor by a topic, nor by fanout."""
    fanout = kombu.Exchange(broker.name, type="fanout")
    with broker.connect(global_keyprefix="one:") as one, broker.connect(global_keyprefix="two:") as two:
        send(one, broker.queue(), "one")
        send(two, broker.queue(), "two")
        assert Inbox(one, broker.queue()).wait(1) == ["one"]
        assert Inbox(two, broker.queue()).wait(1) == ["two"]
        listeners = [Inbox(side, broker.queue("-f", exchange=fanout), no_ack=True) for side in (one, two)]
        for listener in listeners:
            listener.look()
        broker.wait_for_subscribers(2)
        for word, side in (("one", one), ("two", two)):
            kombu.Producer(side, exchange=fanout, serializer="json").publish(word)
        assert [listener.wait(1) for listener in listeners] == [["one"], ["two"]]


@promised("is_redis")
def test_two_databases_do_not_see_each_other(broker: Broker, forms: RedisForms) -> None:
    first, second = forms.tcp(broker.kind, 1), forms.tcp(broker.kind, 2)
    with first.connect() as one, second.connect() as two:
        send(one, broker.queue(), "one")
        send(two, broker.queue(), "two")
        assert Inbox(one, broker.queue()).wait(1) == ["one"]
        assert Inbox(two, broker.queue()).wait(1) == ["two"]


@promised("is_redis")
def test_it_works_over_a_unix_socket(broker: Broker, forms: RedisForms) -> None:
    exercise(forms.unix(broker.kind))


@promised("is_redis")
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
def test_it_works_in_both_protocols(broker: Broker, forms: RedisForms, protocol: int) -> None:
    """kombu passes the protocol on from the query of a socket's URL only."""
    exercise(forms.unix(broker.kind, f"&protocol={protocol}"))


@promised("is_redis")
def test_it_works_over_tls(broker: Broker, forms: RedisForms) -> None:
    """The server's certificate is verified."""
    exercise(forms.tls(broker.kind))


@promised("is_redis")
def test_a_certificate_of_someone_else_is_refused(broker: Broker, forms: RedisForms) -> None:
    """Without the authority that signed it, a certificate is not taken."""
    with forms.tls(broker.kind, "?ssl_cert_reqs=required").connect() as connection:
        with pytest.raises(connection.connection_errors, match=r"(?i)certificate"):
            connection.connect()


@promised("verifies_without_options")
def test_without_options_tls_is_verified(broker: Broker, forms: RedisForms) -> None:
    """A URL without options of TLS never speaks plainly, and does not take just any certificate."""
    with forms.tls(broker.kind, "").connect() as connection:
        with pytest.raises(connection.connection_errors, match=r"(?i)certificate"):
            connection.connect()


@promised("is_redis")
def test_it_works_by_way_of_a_sentinel(broker: Broker, forms: RedisForms) -> None:
    exercise(forms.sentinel(broker.kind), master_name="main")


@promised("is_redis")
def test_a_named_user_logs_in(broker: Broker, forms: RedisForms) -> None:
    """Its password holds what a URL has to quote."""
    exercise(forms.as_user(broker.kind))


@promised("is_redis")
def test_a_wrong_password_is_an_error_at_once(broker: Broker, forms: RedisForms) -> None:
    with forms.as_user(broker.kind, "wrong").connect() as connection:
        with pytest.raises(connection.connection_errors, match=r"(?i)password"):
            connection.connect()
