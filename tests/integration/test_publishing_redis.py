"""emit on Redis: what is confirmed, what it refuses, and its restarts."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kombu
import pytest
import redis
from celery import Celery

from events_core import DomainEvent, EmitError, EventSystem
from events_core.coordination import connect
from events_worker.checks.servers import check_servers
from tests.support.broker_queues import envelopes, queue_key, stock, take_all
from tests.support.missing import missing
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer


class First(DomainEvent, event_type="redis.first"):
    number: int = 0


class Second(DomainEvent, event_type="redis.second"):
    number: int = 0


def handle(event: DomainEvent) -> None: ...


def make(name: str, url: str, **settings: Any) -> EventSystem:
    """First goes to the queue `{name}.first`, Second to `{name}.second`."""
    events = EventSystem(name, broker_url=url, **settings)
    events.bind(First, handle, name="first", queue=f"{name}.first")
    events.bind(Second, handle, name="second", queue=f"{name}.second")
    return events


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    events = make(system_name, redis_url)
    yield events
    events.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def numbers(url: str, queue: str) -> list[int]:
    return [envelope["data"]["number"] for envelope in envelopes(url, queue)]


def commands(client: redis.Redis) -> dict[str, int]:
    stats: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): value["calls"] for name, value in stats.items()}


def serve_tls(server: RedisServer, folder: Path) -> tuple[int, Path]:
    """Have it listen with TLS too: the port, and the certificate to trust."""
    if shutil.which("openssl") is None:
        missing("no openssl: install it (Debian: apt-get install openssl)")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    port = free_port()
    settings = ["tls-cert-file", certificate, "tls-key-file", key, "tls-auth-clients", "no", "tls-port", port]
    with server.client() as client:
        try:
            client.execute_command("CONFIG SET", *map(str, settings))
        except redis.ResponseError as error:
            missing(f"redis-server without TLS: {error}")
    return port, certificate


@pytest.mark.parametrize("scheme", ["redis", "rediss", "rediss in the URL"])
def test_the_tls_of_the_broker_holds_for_emit_and_coordination(
    own_redis_server: RedisServer, system_name: str, tmp_path: Path, scheme: str
) -> None:
    """`broker_use_ssl` of the app, or the URL: who emits and the coordination client read the same."""
    port, certificate = serve_tls(own_redis_server, tmp_path)
    plain = own_redis_server.url()
    url = plain.replace(f":{own_redis_server.port}/", f":{port}/").replace("redis:", f"{scheme.split(maxsplit=1)[0]}:")
    tls = {"ssl_ca_certs": str(certificate), "ssl_cert_reqs": "required"}
    if scheme == "rediss in the URL":
        app = Celery("own", broker=f"{url}?{urlencode(tls)}", set_as_current=False)
    else:
        app = Celery("own", broker=url, set_as_current=False)
        app.conf.broker_use_ssl = tls
    events = make(system_name, "", celery=app)
    events.emit(First(number=1))
    assert numbers(stock(plain), f"{system_name}.first") == [1]
    assert connect(events).client.ping()
    assert not [finding for finding in check_servers(events) if "cannot be reached" in finding.text]
    events.close()


def test_a_unix_socket_in_the_form_of_redis_py(system_name: str, tmp_path: Path) -> None:
    """unix:// serves emit, the coordination client and kombu, which the worker uses."""
    server = EventSystem(f"{system_name}.server", broker_url="embedded", data_dir=tmp_path)
    embedded = server.open_embedded()
    assert embedded is not None
    assert embedded.url.startswith("unix://")
    events = make(system_name, embedded.url)
    events.emit(First(number=1))
    queue = f"{system_name}.first"
    assert connect(events).client.xlen(queue_key(events.celery.conf.broker_url, queue)) == 1
    with events.celery.connection_for_read() as connection:
        assert connection.default_channel.queue_declare(queue, passive=True).message_count == 1
    events.close()
    server.close()


def test_the_coordination_client_does_not_try_again_by_itself(own_redis_server: RedisServer, system_name: str) -> None:
    """Who calls knows whether and for how long; a command tried twice may have happened twice."""
    with Proxy(own_redis_server.port) as proxy:
        events = EventSystem(
            system_name, redis_url=own_redis_server.url().replace(f":{own_redis_server.port}/", f":{proxy.port}/")
        )
        client = connect(events).client
        assert client.ping()
        own_redis_server.kill()
        proxy.served = 0
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert proxy.served <= 1
        own_redis_server.start()
        assert client.ping()


class TestPartialConfirmation:
    def test_one_queue_that_redis_refuses(self, events: EventSystem, client: redis.Redis, redis_url: str) -> None:
        """Promise 1: a key of another type holds the place of one queue; what went to the other is confirmed."""
        name = events.name
        client.set(second := queue_key(redis_url, f"{name}.second"), "no queue")
        batch = [First(number=1), Second(number=2), First(number=3), Second(number=4)]
        with pytest.raises(EmitError, match=r"Redis refused: .*wrong kind") as caught:
            events.emit_many(batch)
        assert [delivery.handler for delivery in caught.value.confirmed] == ["first", "first"]
        assert [delivery.handler for delivery in caught.value.unsent] == ["second", "second"]
        assert caught.value.uncertain == []
        assert numbers(redis_url, f"{name}.first") == [1, 3]
        client.delete(second)
        events.emit_many(batch)
        assert numbers(redis_url, f"{name}.second") == [2, 4]

    def test_the_connection_is_in_order_after_a_refusal(
        self, events: EventSystem, client: redis.Redis, redis_url: str
    ) -> None:
        """All replies were read: the next emit does not take an old reply for its own."""
        client.set(queue_key(redis_url, f"{events.name}.first"), "no queue")
        with pytest.raises(EmitError):
            events.emit_many([First(), Second()])
        events.emit(Second(number=5))
        assert numbers(redis_url, f"{events.name}.second") == [0, 5]
        with pytest.raises(EmitError):
            events.emit(First())

    def test_chunks_before_the_failing_one_are_confirmed_and_those_after_unsent(
        self, events: EventSystem, client: redis.Redis, redis_url: str
    ) -> None:
        """Promise 1 for more than 1,000 deliveries: each is listed once, in one of the three."""
        client.set(queue_key(redis_url, f"{events.name}.second"), "no queue")
        batch = [First(number=number) for number in range(1000)]
        batch_two = [*(First(number=number) for number in range(1000, 1400)), *(Second() for _ in range(600))]
        batch_three = [First(number=number) for number in range(1400, 1900)]
        with pytest.raises(EmitError) as caught:
            events.emit_many([*batch, *batch_two, *batch_three])
        error = caught.value
        assert (len(error.confirmed), len(error.uncertain), len(error.unsent)) == (1400, 0, 1100)
        assert len({delivery.task_id for delivery in error.confirmed + error.unsent}) == 2500
        assert [delivery.handler for delivery in error.unsent] == ["second"] * 600 + ["first"] * 500
        assert numbers(redis_url, f"{events.name}.first") == list(range(1400))

    def test_a_full_redis(self, own_redis_server: RedisServer, system_name: str) -> None:
        """noeviction and no memory left: refused, unsent, and told in Redis's words; with memory it goes on."""
        events = make(system_name, own_redis_server.url())
        with own_redis_server.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(EmitError, match=r"Redis refused: .*memory") as caught:
                events.emit_many([First(), Second()])
            assert len(caught.value.unsent) == 2
            client.config_set("maxmemory", "0")
        events.emit(First(number=1))
        assert numbers(own_redis_server.url(), f"{system_name}.first") == [1]
        events.close()


class TestCost:
    # commandstats counts what a script calls too
    @pytest.mark.parametrize(
        "transport, expected", [("streams", {"eval": 2, "xadd": 600 + 1}), ("stock", {"lpush": 3})], ids=str
    )
    def test_one_command_for_each_queue(
        self, own_redis_server: RedisServer, system_name: str, transport: str, expected: dict[str, int]
    ) -> None:
        """Item 4: all deliveries of a call go in one batch, on a connection that is kept."""
        client = own_redis_server.client()  # nobody else's commands are counted
        events = make(system_name, own_redis_server.url(), redis_transport=transport)
        events.emit(First())
        client.config_resetstat()
        events.emit_many([First() for _ in range(300)] + [Second() for _ in range(300)])
        events.emit(First())
        events.close()
        counted = commands(client)
        for own in ("config|resetstat", "config"):  # before Redis 7 without what is configured
            counted.pop(own, None)
        counted.pop("info", None)
        assert counted == expected


class TestStock:
    def test_kombu_alone_reads_what_is_emitted(self, redis_url: str, system_name: str) -> None:
        """redis_transport="stock": lists, in the order of emission."""
        events = make(system_name, redis_url, redis_transport="stock")
        events.emit_many([First(number=1), First(number=2)])
        events.emit(First(number=3))
        events.close()
        assert numbers(redis_url, f"{system_name}.first") == []
        with kombu.Connection(redis_url) as connection:
            channel = connection.default_channel
            taken = [channel.basic_get(f"{system_name}.first", no_ack=True) for _ in range(3)]
        assert [message.decode()[0][0]["data"]["number"] for message in taken] == [1, 2, 3]

    def test_one_queue_that_redis_refuses(self, redis_url: str, system_name: str, client: redis.Redis) -> None:
        """Promise 1 as on streams."""
        events = make(system_name, redis_url, redis_transport="stock")
        client.set(f"{system_name}.second", "no list")
        with pytest.raises(EmitError, match=r"Redis refused: .*wrong kind") as caught:
            events.emit_many([First(number=1), Second(number=2), First(number=3)])
        events.close()
        assert [delivery.handler for delivery in caught.value.confirmed] == ["first", "first"]
        assert [delivery.handler for delivery in caught.value.unsent] == ["second"]
        assert numbers(stock(redis_url), f"{system_name}.first") == [1, 3]


class TestRestarts:
    def test_a_restart_between_two_emits_is_not_noticed(self, own_redis_server: RedisServer, system_name: str) -> None:
        """The stale connection is seen before anything is sent on it; what was confirmed is still there."""
        events = make(system_name, own_redis_server.url())
        events.emit(First(number=1))
        own_redis_server.restart()
        events.emit(First(number=2))
        events.close()
        assert numbers(own_redis_server.url(), f"{system_name}.first") == [1, 2]

    def test_down_and_up_again(self, own_redis_server: RedisServer, system_name: str) -> None:
        """Promise 1: killed: an error within the bound, nothing sent; up again: the same event object arrives once."""
        events = make(system_name, own_redis_server.url(), emit_timeout=1)
        events.emit(First(number=1))
        own_redis_server.kill()
        event = First(number=2)
        started = time.monotonic()
        with pytest.raises(EmitError) as caught:
            events.emit(event)
        assert time.monotonic() - started < 2
        assert len(caught.value.unsent) == 1
        own_redis_server.start()
        assert list(events.emit(event).deliveries) == caught.value.unsent
        events.close()
        assert numbers(own_redis_server.url(), f"{system_name}.first")[-1] == 2


class TestAddresses:
    def test_another_database(self, own_redis_server: RedisServer, system_name: str) -> None:
        """The number in the URL counts."""
        events = make(system_name, own_redis_server.url(3))
        events.emit(First(number=1))
        events.close()
        assert numbers(own_redis_server.url(0), f"{system_name}.first") == []
        assert numbers(own_redis_server.url(3), f"{system_name}.first") == [1]

    @pytest.mark.parametrize(
        "scheme, key, kind", [("redis", "theirs:{}", b"list"), ("redis-streams", "theirs:stream:{}", b"stream")]
    )
    def test_the_key_prefix_of_an_existing_app(
        self, redis_url: str, system_name: str, client: redis.Redis, scheme: str, key: str, kind: bytes
    ) -> None:
        """kombu's global_keyprefix: that app's workers read prefixed keys, of the transport that the app names."""
        app = Celery("prefixed", broker=redis_url.replace("redis:", f"{scheme}:", 1), set_as_current=False)
        app.conf.broker_transport_options = {"global_keyprefix": "theirs:"}
        events = EventSystem(system_name, celery=app)
        events.bind(First, handle, name="first")
        events.emit(First())
        events.close()
        assert client.type(key.format(f"{system_name}.events")) == kind

    def test_the_system_reads_back_what_kombu_reads(self, events: EventSystem, redis_url: str) -> None:
        """Each message has a delivery tag of its own, by which its acknowledgement finds it."""
        events.emit_many([First(), First()])
        tags = [message.delivery_tag for message in take_all(redis_url, f"{events.name}.first")]
        assert len(set(tags)) == 2


def test_a_server_that_was_away_for_long(own_redis_server: RedisServer, system_name: str) -> None:
    """redis-py's pools make a hundred connections in their life: an emitter that has tried as often goes on."""
    events = make(system_name, own_redis_server.url(), emit_timeout=0.01)
    own_redis_server.stop()
    for _ in range(110):
        with pytest.raises(EmitError):
            events.emit(First())
    own_redis_server.start()
    events.emitter.publish(events.emitter.messages_of(First(number=1), None), 5.0)
    assert numbers(own_redis_server.url(), f"{system_name}.first") == [1]
    events.close()
