"""What the worker asks of its servers, and what happens when they go away."""

from __future__ import annotations

from typing import Any

from tests.apps import basics, dying, retrying
from tests.apps.harness import Rig, rig
from tests.support import servers
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


def test_a_cut_connection_runs_nothing_twice(redis_server: Any, rabbitmq_server: Any) -> None:
    """RabbitMQ delivers again what still runs here: the copy is adopted, the handler runs once, the message is
    acknowledged when it has settled, and the queue is empty afterwards.
    """
    with rig(dying, "rabbitmq", redis_server, rabbitmq_server) as made, Proxy(rabbitmq_server.port) as proxy:
        through = made.broker_url.replace(f":{rabbitmq_server.port}/", f":{proxy.port}/")
        worker = made.worker("threads", 2, env={"EVENTS_BROKER_URL": through})
        made.emit(dying.Held(tag="cut"))
        made.wait_for_records("cut", 1, "waits")
        proxy.cut()
        worker.wait_for_log("still runs here: acknowledged when that has settled", 60)
        made.open_gate("cut")
        made.wait_for_records("cut", 1, "waited")
        made.open_gate("next")
        made.emit(dying.Held(tag="next"))
        try:
            made.wait_for_records("next", 1, "waited")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{worker.log[-5000:]}") from None
        worker.terminate()  # what it had not acknowledged would be on the queue again
        assert _messages_left(made) == 0
        assert [line["what"] for line in made.records("cut")] == ["waits", "waited"]
        assert made.letters() == []


def _messages_left(made: Rig) -> int:
    """Counted by taking them."""
    with made.broker() as connection:
        channel = connection.channel()
        count = 0
        while channel.basic_get(made.queue, no_ack=True) is not None:
            count += 1
        return count


def test_a_handler_that_fails_while_redis_is_down_is_retried_when_it_is_back(
    own_redis_server: servers.RedisServer, redis_server: Any, rabbitmq_server: Any
) -> None:
    """The coordination Redis is gone when the failure should be stored: the delivery keeps its message and its slot,
    the worker survives and serves others, and when Redis is back (with its data) the retry happens, once.
    """
    with rig(retrying, "rabbitmq", redis_server, rabbitmq_server) as base:
        made = Rig(retrying, base.broker_url, own_redis_server.url(), base.record_url)
        worker = made.worker("threads", 2)
        own_redis_server.kill()
        emission = made.emit(retrying.Failing(tag="down", times=1))
        worker.wait_for_log("cannot settle, again in", 30)
        made.wait_for_records("down", 1, "works")  # the same event's other handler is done: it needs no Redis
        assert len(made.records("down", "fails")) == 1
        own_redis_server.start()
        made.wait_for_records("down", 1, "fails no more")
        assert [line["number"] for line in made.records("down", "fails")] == [1, 2]
        assert made.letters(ids=(str(emission.event_id),)) == []
        assert worker.alive
        worker.terminate()
        assert _messages_left(made) == 0
        made.close()


def test_a_worker_killed_while_redis_is_down_loses_no_failed_delivery(
    own_redis_server: servers.RedisServer, redis_server: Any, rabbitmq_server: Any
) -> None:
    """Not stored means not acknowledged: RabbitMQ gives the delivery to the next worker."""
    with rig(retrying, "rabbitmq", redis_server, rabbitmq_server) as base:
        made = Rig(retrying, base.broker_url, own_redis_server.url(), base.record_url)
        worker = made.worker("threads", 2)
        own_redis_server.kill()
        made.emit(retrying.Failing(tag="killed", times=1))
        worker.wait_for_log("cannot settle, again in", 30)
        worker.kill9()
        own_redis_server.start()
        made.worker("threads", 2)
        made.wait_for_records("killed", 1, "fails no more")
        made.close()


def test_the_ordinary_case_asks_redis_nothing(
    own_redis_server: servers.RedisServer, redis_server: Any, rabbitmq_server: Any
) -> None:
    """A first delivery that is done costs no command on the coordination Redis: while a few hundred are handled,
    it hears only the clock, whose commands are counted beside them.
    """
    with rig(basics, "rabbitmq", redis_server, rabbitmq_server) as base:
        made = Rig(basics, base.broker_url, own_redis_server.url(), base.record_url)
        made.worker("threads", 4)
        client = own_redis_server.client()
        made.emit_many([basics.Happened(tag="warm") for _ in range(4)])
        made.wait_for_records("warm", 12)
        wait_until(lambda: _commands(client).get("evalsha", 0) > 0, what="the clock's first look")
        client.config_resetstat()
        made.emit_many([basics.Happened(tag="count", number=n) for n in range(100)])
        made.wait_for_records("count", 300)
        commands = _commands(client)
        # 300 deliveries. The clock looks with three scripts twice a second, and which handlers are paused is asked once
        # a second: that is all.
        assert commands.get("evalsha", 0) < 60, commands
        assert commands.get("smembers", 0) < 15, commands
        assert not {"hset", "hget", "zadd", "set", "expire"} & set(commands), commands
        made.close()


def _commands(client: Any) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(values["calls"]) for name, values in stats.items()}
