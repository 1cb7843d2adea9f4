"""Redis Pub/Sub beside what its contract says: the wire that diator's users know, and what is told when it is lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis
import redis.asyncio

from events_core import ConfigurationError, ECSTEvent, NotificationEvent
from events_core.brokers import Received, RedisPubSubBroker, Subscription
from events_core.brokers.redis_pubsub import receiver as redis_pubsub_receiver
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, connect
from tests.support.waiting import wait_until


class Joined(NotificationEvent, event_type="pubsub.user.joined"):
    user_id: UUID
    tags: dict[str, list[int]]


class Changed(ECSTEvent, event_type="pubsub.user.changed"):
    name: str


USER = UUID(int=7)
EVERYTHING = Subscription("q", frozenset({("users", "#")}), lasting=False)


def publish(broker: RedisPubSubBroker, *events: IntegrationEvent) -> None:
    broker.publish([broker.message(event, Envelope.of(event), "users") for event in events], 5)


def subscribers(client: redis.Redis) -> int:
    return int(client.pubsub_numpat())


def test_redis_cli_hears_what_diator_would_have_published(redis_url: str) -> None:
    """PSUBSCRIBE with the real redis-cli: channel and JSON, name by name."""
    redis_cli = shutil.which("redis-cli")
    assert redis_cli, "redis-cli comes with redis-server"
    pattern = "python_diator_channel:notification_event:*"
    place = urlsplit(redis_url)
    command = [redis_cli, "-h", str(place.hostname), "-p", str(place.port), "PSUBSCRIBE", pattern]
    env = os.environ | {"REDISCLI_AUTH": place.password or ""}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as cli, connect(redis_url) as client:
        try:
            wait_until(lambda: subscribers(client), 10, "redis-cli listens")
            broker = RedisPubSubBroker(redis_url)
            event = Joined(user_id=USER, tags={"a": [1, 2]})
            publish(broker, Changed(name="not for it"), event)
            assert cli.stdout is not None
            heard = [cli.stdout.readline().strip() for _ in range(7)]
        finally:
            cli.kill()
    assert heard[3:6] == ["pmessage", pattern, f"python_diator_channel:notification_event:{event.event_id}"]
    assert json.loads(heard[6]) == {
        "message_type": "notification_event",
        "message_name": "pubsub.user.joined",
        "message_id": str(event.event_id),
        "payload": {
            "event_id": str(event.event_id),
            "event_timestamp": event.occurred_at.isoformat(),
            "user_id": str(USER),
            "tags": {"a": [1, 2]},
        },
    }


def test_ecst_events_have_a_channel_of_their_own(redis_url: str) -> None:
    with connect(redis_url) as client:
        listener = client.pubsub(ignore_subscribe_messages=True)
        listener.psubscribe("mine:ecst_event:*")
        listener.get_message(timeout=5)
        event = Changed(name="Zoë")
        publish(RedisPubSubBroker(redis_url, channel_prefix="mine"), event)
        message = wait_until(lambda: listener.get_message(timeout=1), 10)
    assert message["channel"].decode() == f"mine:ecst_event:{event.event_id}"
    assert json.loads(message["data"])["message_type"] == "ecst_event"


def test_what_diator_publishes_is_received(redis_url: str) -> None:
    """By redis-py alone, as diator writes it: without an offset in its time."""
    broker = RedisPubSubBroker(redis_url)
    receiver = broker.receiver(EVERYTHING)
    receiver.receive(0)
    body = {
        "message_type": "notification_event",
        "message_name": "pubsub.user.joined",
        "message_id": str(USER),
        "payload": {"event_id": str(USER), "event_timestamp": "2026-03-01T12:00:00", "user_id": str(USER), "tags": {}},
    }
    with connect(redis_url) as client:
        client.publish(f"python_diator_channel:notification_event:{USER}", json.dumps(body))
    [message] = receiver.receive(10)
    receiver.close()
    assert (message.message_id, message.type, message.topic) == (str(USER), "pubsub.user.joined", "users")
    envelope = broker.format.decode(message)
    assert (envelope.id, envelope.occurred_at) == (str(USER), "2026-03-01T12:00:00+00:00")
    assert json.loads(envelope.data) == {"user_id": str(USER), "tags": {}}


def test_a_prefix_with_pattern_characters_means_itself(redis_url: str) -> None:
    ours, other = (RedisPubSubBroker(redis_url, channel_prefix=prefix) for prefix in ("a[b]*", "ab"))
    receiver = ours.receiver(Subscription("q", frozenset({("users", f"*.{Changed.event_type}")}), lasting=False))
    receiver.receive(0)
    publish(other, Changed(name="theirs"))
    publish(ours, Changed(name="ours"))
    [message] = receiver.receive(10)
    receiver.close()
    assert b"ours" in message.body


def test_a_subscription_that_should_last_is_told_that_it_does_not(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = RedisPubSubBroker(redis_url)
    for _ in range(2):
        broker.declare(Subscription("mail", frozenset({("users", "#")})))
    assert caplog.text.count("queue mail is on Redis Pub/Sub, which keeps nothing") == 1


def test_nobody_listens_is_told_once_and_again_after_somebody_did(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = RedisPubSubBroker(redis_url)
    publish(broker, Changed(name="1"), Changed(name="2"))
    publish(broker, Changed(name="3"))
    assert caplog.text.count(Changed.event_type) == 1
    receiver = broker.receiver(EVERYTHING)
    receiver.receive(0)
    publish(broker, Changed(name="4"))
    receiver.close()
    with connect(redis_url) as client:
        wait_until(lambda: not subscribers(client))
    publish(broker, Changed(name="5"))
    assert caplog.text.count(Changed.event_type) == 2


def test_a_lost_connection_is_an_error_and_the_gap_is_told(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    broker = RedisPubSubBroker(redis_url)
    receiver = broker.receiver(EVERYTHING, prefetch=2)
    receiver.receive(0)
    publish(broker, Changed(name="held"))
    assert len(receiver.receive(10)) == 1  # and never acknowledged: its place must not be lost
    with connect(redis_url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        with pytest.raises(OSError, match="queue q: Redis is lost"):
            _receive_until_it_fails(receiver)
        publish(broker, Changed(name="missed"))
        with caplog.at_level(logging.WARNING):
            assert receiver.receive(0) == []
    assert "events of the meantime may have been missed" in caplog.text
    publish(broker, Changed(name="heard"), Changed(name="heard too"))
    heard: list[Received] = []
    wait_until(lambda: len(heard.extend(receiver.receive(1)) or heard) == 2, 10)
    receiver.close()
    assert [b"heard" in message.body for message in heard] == [True, True]


def _receive_until_it_fails(receiver: redis_pubsub_receiver.RedisPubSubReceiver) -> None:
    while True:
        receiver.acknowledge(receiver.receive(10))


def test_a_connection_that_leads_nowhere_is_found_out(
    redis_server: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence proves nothing, so Redis is asked; without an answer the connection is given up."""
    monkeypatch.setattr(redis_pubsub_receiver, "_SILENCE", 0.2)
    monkeypatch.setattr(redis_pubsub_receiver, "PATIENCE", 2.0)
    with Proxy(redis_server.port) as proxy:
        broker = RedisPubSubBroker(redis_url.replace(str(redis_server.port), str(proxy.port)))
        receiver = broker.receiver(EVERYTHING)
        receiver.receive(0)
        assert receiver.receive(4) == []  # longer than silence and patience: the answers count
        proxy.strand()
        with pytest.raises(TimeoutError):
            receiver.receive(30)
        assert receiver.receive(0) == []
        publish(RedisPubSubBroker(redis_url), Changed(name="1"))
        assert len(receiver.receive(10)) == 1
        receiver.close()


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
def test_it_takes_an_existing_client(redis_url: str, kind: type[redis.Redis]) -> None:
    """Its address and credentials; what it does with replies is its own."""
    client = kind.from_url(redis_url, decode_responses=True, protocol=3, socket_timeout=0.001)
    broker = RedisPubSubBroker(client)
    receiver = broker.receiver(EVERYTHING)
    receiver.receive(0)
    publish(broker, Changed(name="1"))
    [message] = receiver.receive(10)
    receiver.close()
    assert isinstance(message.body, bytes)


def test_other_clients_and_urls_are_refused(redis_url: str) -> None:
    sentinel = redis.asyncio.Sentinel([("localhost", 1)]).master_for("main")
    with pytest.raises(ConfigurationError, match="cannot tell where this asyncio client connects to"):
        RedisPubSubBroker(sentinel)
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio\.Redis, not a int"):
        RedisPubSubBroker(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="redis://"):
        RedisPubSubBroker("amqp://localhost")
    with pytest.raises(ConfigurationError, match="no URL"):
        RedisPubSubBroker().start()


def test_wrong_credentials_are_a_matter_of_configuration(redis_server: RedisServer) -> None:
    with pytest.raises(ConfigurationError, match="password"):
        RedisPubSubBroker(f"redis://:wrong@127.0.0.1:{redis_server.port}").start()
