"""A worker on Redis Streams whose Redis fails it: it goes on by itself, and loses nothing that Redis keeps.

For what the other brokers do in these cases, see the table of promises.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import BROKERS, KEPT
from tests.contract.workers import Station
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

IMPATIENT = {"socket_timeout": 1.5, "socket_connect_timeout": 1.5, "health_check_interval": 1, "claim_after": 3}


def stop(server: RedisServer) -> None:
    server.stop()
    server.start()


def kill(server: RedisServer) -> None:
    server.kill()
    server.start()


def cut_connections(server: RedisServer) -> None:
    with server.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def fail_over(server: RedisServer) -> None:
    server.lose_everything()
    server.start()


def make_read_only(server: RedisServer) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", str(free_port()))


def make_writable(server: RedisServer) -> None:
    with server.client() as client:
        client.replicaof("NO", "ONE")


def goes_on(station: Station, worker: Process, number: int) -> None:
    """It runs a new task, and answers to remote control, which goes by another connection."""
    station.send("quick", number)
    station.wait_for("end", number)
    wait_until(lambda: station.inspect("ping", 1.0) == {"ok": "pong"}, 20, "an answer to ping")
    assert worker.alive


@pytest.mark.parametrize(
    "happens, pool",
    [
        pytest.param(stop, "threads", id="stopped"),
        pytest.param(kill, "threads", id="killed"),
        pytest.param(kill, "prefork", id="killed-prefork"),
        pytest.param(cut_connections, "threads", id="cut"),
        pytest.param(cut_connections, "solo", id="cut-solo"),
    ],
)
def test_what_runs_meanwhile_runs_once(
    own_redis_server: RedisServer, own_station: Station, happens: Callable[[RedisServer], None], pool: str
) -> None:
    """Redis is restarted, killed, or cuts its connections: what the worker runs and holds stays its own."""
    worker = own_station.start(pool=pool, concurrency=2, prefetch=2)
    own_station.send("held", *range(1, 7))
    own_station.wait_for("start", 1)
    if pool != "solo":  # which reads nothing while it runs a task
        own_station.broker.wait_for_ready(own_station.broker.queue(), 2)
    happens(own_redis_server)
    own_station.send("held", 7)
    own_station.open()
    own_station.wait_for("end", *range(1, 8))
    goes_on(own_station, worker, 8)
    own_station.wait_until_idle()
    own_station.each_ran_once(*range(1, 9))


@pytest.mark.parametrize("happens", [flush, fail_over], ids=["flushed", "failed-over"])
def test_a_redis_that_lost_everything_stops_nobody(
    own_redis_server: RedisServer, own_station: Station, happens: Callable[[RedisServer], None]
) -> None:
    """FLUSHALL, or a failover to an empty replica: what ran ends, and what comes then runs."""
    worker = own_station.start()
    own_station.send("held", 1, 2, 3)
    own_station.wait_for("start", 1, 2)
    happens(own_redis_server)
    own_station.send("held", 4)
    own_station.open()
    own_station.wait_for("end", 1, 2, 4)
    goes_on(own_station, worker, 5)
    own_station.wait_until_idle()
    assert max(own_station.noted("start").values()) == 1
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_read_only_replica_stops_nobody_for_good(
    own_redis_server: RedisServer, own_station: Station, pool: str
) -> None:
    """What runs ends meanwhile; it is acknowledged, and the rest runs, once Redis takes writes again."""
    worker = own_station.start(pool=pool, concurrency=1, prefetch=1)
    own_station.send("held", 1, 2)
    own_station.wait_for("start", 1)
    make_read_only(own_redis_server)
    own_station.open()
    own_station.wait_for("end", 1)
    worker.wait_for_log(r"(?is)(read.?only.*){3}")  # it has connected again and was refused
    make_writable(own_redis_server)
    own_station.wait_for("end", 2)
    goes_on(own_station, worker, 3)
    own_station.wait_until_idle()
    own_station.each_ran_once(1, 2, 3)


def test_a_connection_that_leads_nowhere_is_found_out(own_redis_server: RedisServer, own_station: Station) -> None:
    """Half open: neither end learns of it. What Redis sends to the dead connection comes again over the next one."""
    with Proxy(own_redis_server.port) as proxy:
        own_station.conf["broker_transport_options"] = IMPATIENT
        own_station.url = re.sub(r":\d+/", f":{proxy.port}/", own_station.broker.url)
        worker = own_station.start()
        own_station.send("held", 1)
        own_station.wait_for("start", 1)
        proxy.strand()
        own_station.send("quick", 2, 3, 4)
        own_station.wait_for("end", 2, 3, 4)
        own_station.open()
        own_station.wait_for("end", 1)
        goes_on(own_station, worker, 5)
        own_station.wait_until_idle()
        own_station.each_ran_once(1, 2, 3, 4, 5)


def test_a_worker_can_start_on_a_full_redis_and_drain_it(own_redis_server: RedisServer, own_station: Station) -> None:
    """Its own bindings are refused, which matters to nobody; the workers before it go on too."""
    first = own_station.start(prefetch=1)
    own_station.send("held", *range(1, 7))
    own_station.wait_for("start", 1, 2)
    with own_redis_server.client() as client:
        client.config_set("maxmemory", 1)
    second = own_station.start()
    own_station.open()
    own_station.wait_for("end", *range(1, 7))
    own_station.wait_until_idle()
    own_station.each_ran_once(*range(1, 7))
    assert first.alive
    assert second.alive


def test_a_worker_outlives_a_redis_that_refuses_to_write(own_redis_server: RedisServer, own_station: Station) -> None:
    """A full disk or too few replicas: what was done meanwhile is acknowledged afterwards."""
    worker = own_station.start()
    own_station.send("held", 1, 2)
    own_station.wait_for("start", 1, 2)
    with own_redis_server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        own_station.open()
        own_station.wait_for("end", 1, 2)
        worker.wait_for_log("NOREPLICAS")
        client.config_set("min-replicas-to-write", 0)
    goes_on(own_station, worker, 3)
    own_station.wait_until_idle()
    own_station.each_ran_once(1, 2, 3)


def test_what_waits_for_its_time_outlives_a_cut_connection(own_redis_server: RedisServer, own_station: Station) -> None:
    """Celery drops it with the connection: it goes back to the queue, and runs once."""
    worker = own_station.start()
    own_station.send("quick", 1, 2, countdown=6)
    own_station.broker.wait_for_ready(own_station.broker.queue(), 0)
    cut_connections(own_redis_server)
    own_station.wait_for("end", 1, 2)
    goes_on(own_station, worker, 3)
    own_station.wait_until_idle()
    own_station.each_ran_once(1, 2, 3)


def test_a_read_that_reaches_redis_late_strands_nothing(own_redis_server: RedisServer) -> None:
    """A network held it back; meanwhile its connection was given up, and its consumer's name looked through."""
    broker = Broker.on_redis("streams", own_redis_server.url())
    stream = f"stream:{broker.name}"
    with broker.connect(claim_after=1) as connection, own_redis_server.client() as client:
        living, gone = Inbox(connection, broker.queue("-other")), Inbox(connection, broker.queue())
        gone.look()
        gone.channel.close()
        send(connection, broker.queue(), 1)
        late = living.channel.reader.name.rpartition("/")[0] + "/999"
        assert client.xreadgroup("workers", late, {stream: ">"})
        wait_until(lambda: client.xpending(stream, "workers")["consumers"][0]["name"] == b"returned", 20, "its return")


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(own_redis_server: RedisServer, own_station: Station) -> None:
    """And for one that goes while it is starting."""
    own_redis_server.kill()
    worker = own_station.start(ready=False)
    worker.wait_for_log("Cannot connect to")
    own_redis_server.start()
    goes_on(own_station, worker, 1)


@pytest.mark.parametrize(
    "happens", [flush, fail_over, stop, cut_connections], ids=["flushed", "failed-over", "stopped", "cut"]
)
def test_what_was_held_can_be_settled_afterwards(
    own_redis_server: RedisServer, happens: Callable[[RedisServer], None]
) -> None:
    """Without a worker: acknowledging, rejecting and closing raise nothing but errors of the connection."""
    broker = Broker.on_redis("streams", own_redis_server.url())
    with broker.connect() as connection:
        send(connection, broker.queue(), 1, 2, 3, 4)
        inbox = Inbox(connection, broker.queue())
        inbox.wait(4)
        happens(own_redis_server)
        for act in (inbox.messages[0].ack, inbox.messages[1].reject, inbox.messages[2].requeue):
            try:
                act()
            except connection.connection_errors:
                assert happens is not flush
    with broker.connect() as connection:
        send(connection, broker.queue(), "after")
        inbox = Inbox(connection, broker.queue())
        inbox.look(0.5)
        assert "after" in inbox.payloads or inbox.wait(len(inbox.messages) + 1)


def test_what_a_read_only_replica_refuses_is_an_error_of_the_connection(own_redis_server: RedisServer) -> None:
    """Celery connects again after such an error; after another its worker ends. What was acknowledged stays so."""
    broker = Broker.on_redis("streams", own_redis_server.url())
    _settle_while_read_only(own_redis_server, broker)
    with broker.connect() as connection:
        assert Inbox(connection, broker.queue()).wait(1) == [2]


def _settle_while_read_only(server: RedisServer, broker: Broker) -> None:
    """Acknowledges one message and tries to give back another; afterwards nobody has it any more."""
    with broker.connect() as connection:
        send(connection, broker.queue(), 1, 2)
        inbox = Inbox(connection, broker.queue())
        inbox.wait(2)
        make_read_only(server)
        for act in (inbox.messages[0].ack, inbox.look, inbox.messages[1].requeue, inbox.look):
            with suppress(*connection.connection_errors):
                act()
        make_writable(server)
        inbox.messages.clear()


def test_a_full_redis_can_be_drained(own_redis_server: RedisServer) -> None:
    """Publishing is refused for want of memory; reading, giving back and acknowledging are not."""
    broker = Broker.on_redis("streams", own_redis_server.url())
    with broker.connect() as connection, own_redis_server.client() as client:
        send(connection, broker.queue(), *range(50))
        client.config_set("maxmemory", 1)
        with pytest.raises(connection.channel_errors, match="maxmemory"):
            send(connection, broker.queue(), 50)
        inbox = Inbox(connection, broker.queue(), prefetch=10)
        inbox.wait(10)
        inbox.messages.pop(0).requeue()
        got: list[int] = []
        while len(got) < 50:
            got += inbox.wait(1)
            inbox.ack_all()
        assert sorted(got) == list(range(50))
    broker.wait_for_ready(broker.queue(), 0)


def test_a_worker_tells_of_messages_that_the_stock_transport_left(own_station: Station) -> None:
    """It names the queue and how many, of all priorities, and runs what is its own."""
    stock = replace(own_station.broker, kind="stock", url=own_station.broker.redis_url)
    with stock.connect() as connection:
        send(connection, stock.queue(), 1, 2)
        send(connection, stock.queue(), 3, priority=6)
    worker = own_station.start()
    warning = worker.wait_for_log(rf"WARNING.*\b{own_station.queue}\b.*")
    assert re.search(r"\b3\b", warning.group())
    goes_on(own_station, worker, 1)


def test_a_stopped_worker_leaves_its_queues_and_nothing_else(own_station: Station) -> None:
    """After tasks, remote control with its replies, and events the queue's streams and bindings remain."""
    worker = own_station.start(extra=("-E",))
    own_station.send("quick", 1, 2)
    own_station.wait_for("end", 1, 2)
    own_station.inspect("ping")
    own_station.wait_until_idle()
    own_station.close()
    assert worker.terminate() == 0
    allowed = rf"(stream:|_kombu\.binding\.|_kombu\.binding_permanent\.){own_station.queue}(\x06\x16\d)?$"

    def left() -> set[str]:
        return {key for key in own_station.broker.all_keys() if not re.match(allowed, key)} - {
            "_kombu.binding_deadlines"
        }

    wait_until(lambda: not left() or _no(left()), 20, "no other key to be left")


def _no(keys: set[str]) -> bool:
    raise AssertionError(f"left: {sorted(keys)}")


def test_these_promises_are_of_streams_alone() -> None:
    """The table says for each of them why the other brokers are left out here."""
    names = ("survives_restart", "survives_flush", "survives_cut_connections", "survives_half_open")
    for name in (*names, "survives_read_only", "tells_of_stock_leftovers"):
        assert [kind for kind, made in BROKERS.items() if getattr(made, name) == KEPT] == ["streams"]


pytestmark = pytest.mark.timeout(120)
