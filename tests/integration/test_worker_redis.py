"""A worker on a Redis broker that is restarted, and on one that another worker was killed on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps import basics, dying
from tests.apps.harness import Rig, rig
from tests.support.broker_queues import stock
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


def on(server: RedisServer, records: Any, **settings: Any) -> Rig:
    """Broker and coordination are the server; what handlers record is elsewhere."""
    return Rig(dying, server.url(), server.url(), records.empty(), settings)


def test_a_delivery_that_runs_while_redis_restarts_runs_once(own_redis_server: RedisServer, redis_server: Any) -> None:
    """It stays this worker's, is acknowledged on the new connection, and the worker serves on."""
    made = on(own_redis_server, redis_server)
    worker = made.worker("threads", 2)
    emission = made.emit(dying.Held(tag="held"))
    made.wait_for_records("held", 1, "waits")
    own_redis_server.restart()
    made.open_gate("next")
    made.emit(dying.Held(tag="next"))
    made.wait_for_records("next", 1, "waited")
    made.open_gate("held")
    made.wait_for_records("held", 1, "waited")
    made.wait_for_rest()
    assert worker.alive
    assert worker.terminate() == 0
    assert made.queue_length() == 0  # it gave nothing back
    assert [line["what"] for line in made.records("held")] == ["waits", "waited"]
    assert made.letters(ids=(str(emission.event_id),)) == []
    made.close()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_cut_connection_runs_nothing_twice(redis_server: Any, pool: str) -> None:
    """What runs here stays this worker's: nobody gets it a second time, and it is acknowledged when it has settled."""
    with rig(dying, "redis", redis_server) as made, Proxy(redis_server.port) as proxy:
        through = made.broker_url.replace(f":{redis_server.port}/", f":{proxy.port}/")
        worker = made.worker(pool, 2, env={"EVENTS_BROKER_URL": through})
        made.emit(dying.Held(tag="cut"))
        made.wait_for_records("cut", 1, "waits")
        proxy.cut()
        worker.wait_for_log("Connection to broker lost", 60)
        made.open_gate("next")
        made.emit(dying.Held(tag="next"))
        made.wait_for_records("next", 1, "waited")
        assert made.unacknowledged() >= 1
        made.open_gate("cut")
        made.wait_for_records("cut", 1, "waited")
        wait_until(lambda: made.unacknowledged() == 0, what="nothing unacknowledged")
        assert worker.terminate() == 0
        assert made.queue_length() == 0  # it gave nothing back
        assert [line["what"] for line in made.records("cut")] == ["waits", "waited"]
        assert made.letters() == []


def test_on_the_stock_transport_the_worker_outlives_a_restart(own_redis_server: RedisServer, redis_server: Any) -> None:
    """redis_transport="stock": late acknowledgement ended kombu's own worker here."""
    made = on(own_redis_server, redis_server, redis_transport="stock")
    worker = made.worker("threads", 2)
    made.emit(dying.Held(tag="held"))
    made.wait_for_records("held", 1, "waits")
    own_redis_server.restart()
    made.open_gate("held")
    made.wait_for_records("held", 1, "waited")
    made.open_gate("next")
    made.emit(dying.Held(tag="next"))
    made.wait_for_records("next", 1, "waited")
    assert worker.alive
    made.close()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_what_a_killed_worker_had_is_run_by_the_next(redis_server: Any, pool: str) -> None:
    """Within seconds, as a redelivery; nothing is left over and nothing is dead."""
    with rig(dying, "redis", redis_server) as made:
        made.worker(pool, 2)
        emissions = [made.emit(dying.Held(tag="killed")) for _ in range(4)]
        made.wait_for_records("killed", 2, "waits")
        made.kill_workers()
        made.open_gate("killed")
        made.worker(pool, 2)
        made.wait_for_records("killed", 4, "waited")
        made.wait_for_rest()
        assert len(made.records("killed", "waited")) == len(emissions)
        assert made.letters() == []


def test_a_worker_tells_of_messages_that_only_kombus_transport_reads(redis_server: Any) -> None:
    """They were emitted before redis_transport was changed: it says how many, and does not touch them."""
    with rig(basics, "redis", redis_server) as made:
        before = Rig(basics, made.broker_url, made.redis_url, made.record_url, {"redis_transport": "stock"}, made.name)
        before.emit(basics.Late(tag="old"))
        worker = made.worker()
        worker.wait_for_log(rf"queue {made.queue}: 1 messages of kombu's own Redis transport wait")
        made.emit(basics.Late(tag="new"))
        made.wait_for_records("new", 1)
        assert before.broker_name == stock(made.broker_url)
        assert before.queue_length() == 1
        worker.terminate()
        before.worker()
        made.wait_for_records("old", 1)
        before.close()
