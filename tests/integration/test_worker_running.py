"""Handlers of every kind under every pool: one loop per process, many at once, and an end when time is up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.apps import basics
from tests.apps.harness import Rig, rig
from tests.support.processes import Process
from tests.support.waiting import wait_until

# A worker of each pool that has begun as a user's does: the others here are forks of a server, which imports first
# and would not see a pool that fails when imports, threads or its own forks come in another order.
pytestmark = pytest.mark.new_processes


@dataclass
class Under:
    """A rig with one worker of a pool."""

    pool: str
    rig: Rig
    worker: Process


@pytest.fixture(scope="module", params=["rabbitmq-threads-4", "redis-prefork-2", "rabbitmq-solo-1"])
def under(request: pytest.FixtureRequest, redis_server: Any, rabbitmq_server: Any) -> Iterator[Under]:
    broker, pool, concurrency = request.param.split("-")
    with rig(basics, broker, redis_server, rabbitmq_server) as made:
        # With a prefetch of 1, Celery's solo pool takes 0.1 s a task from RabbitMQ, ours or not.
        extra = ["--prefetch-multiplier", "16"] if pool == "solo" else []
        yield Under(pool, made, made.worker(pool, int(concurrency), extra=extra))


def test_two_hundred_events_are_all_done_once(under: Under) -> None:
    """Every delivery of every kind of handler runs exactly once, and nothing is left or dead."""
    under.rig.emit_many([basics.Happened(tag="many", number=n) for n in range(200)])
    under.rig.wait_for_records("many", 600, timeout=60)
    lines = under.rig.records("many")
    assert len(lines) == 600
    for name in ("sync_one", "async_one", "ClassOne"):
        assert sorted(line["number"] for line in lines if line["what"] == name) == list(range(200))
    under.rig.wait_for_rest()
    assert under.rig.letters() == []
    assert under.worker.alive


def test_async_handlers_share_one_loop_for_each_process(under: Under) -> None:
    """Connection pools of async clients live as long as the loop: one, in one thread, for all handlers of a process."""
    under.rig.emit_many([basics.Happened(tag="loops", number=n) for n in range(20)])
    lines = under.rig.wait_for_records("loops", 60)
    places: dict[int, set[tuple[int, int]]] = {}
    for line in lines:
        if "loop" in line:
            places.setdefault(line["pid"], set()).add((line["loop"], line["thread"]))
    assert places
    assert all(len(loops) == 1 for loops in places.values()), places
    assert (under.worker.pid in places) == (under.pool != "prefork")


def test_many_async_handlers_run_at_once(under: Under) -> None:
    """As many as the pool has slots wait on the one loop together; none of them blocks it."""
    at_once = {"threads": 4, "prefork": 2, "solo": 1}[under.pool]
    under.rig.emit_many([basics.Awaited(tag="together") for _ in range(at_once)])
    lines = under.rig.wait_for_records("together", at_once, "together")
    most = max(line["at_once"] for line in lines)
    assert most == (1 if under.pool == "prefork" else at_once)
    assert len({line["pid"] for line in lines}) == (2 if under.pool == "prefork" else 1)
    under.rig.open_gate("together")
    under.rig.wait_for_rest()


def test_timeout_ends_handlers_and_the_delivery_is_dead_after_its_attempts(under: Under) -> None:
    """An async handler is cancelled everywhere, a sync one ended where that is possible; `except Exception` in the
    handler does not swallow it; both are tried again and then dead with HandlerTimeout. Under threads the sync
    handler runs on and settles as timed out when it returns.
    """
    seconds = 1.3 if under.pool == "threads" else 60.0
    emission = under.rig.emit(basics.Slow(tag="slow", seconds=seconds))
    for name in ("slow_async", "slow_sync"):
        letter = under.rig.letter_of(emission, name)
        assert (letter.reason, letter.error_type, letter.starts) == ("exhausted", "HandlerTimeout", 2)
        assert "its timeout of 1 s" in letter.error
    said = [line["what"] for line in under.rig.records("slow")]
    assert said.count("slow_async") == said.count("slow_sync") == 2
    assert said.count("slow_sync finished") == (2 if under.pool == "threads" else 0)
    assert not [what for what in said if "swallowed" in what or what == "slow_async finished"]


@pytest.mark.parametrize("under", ["rabbitmq-threads-4"], indirect=True, scope="module")
def test_a_sync_handler_under_threads_keeps_its_slot_until_it_returns(under: Under) -> None:
    """Only a thread cannot be ended: nothing is settled while it still runs, so it neither is done nor runs twice."""
    emission = under.rig.emit(basics.Caught(tag="slot"))
    under.rig.wait_for_records("slot", 1, "begun")
    active = under.rig.system.celery.control.inspect(timeout=30, limit=1).active()
    assert [task["id"] for tasks in active.values() for task in tasks] == [emission.deliveries[0].task_id]
    (begun,) = under.rig.records("slot")
    wait_until(lambda: time.time() > begun["at"] + 0.4, what="its time to be over")
    assert under.rig.letters(ids=(str(emission.event_id),)) == []
    under.rig.open_gate("slot")
    letter = under.rig.letter_of(emission)
    assert (letter.reason, letter.error_type) == ("exhausted", "HandlerTimeout")
    assert [line["what"] for line in under.rig.records("slot")] == ["begun", "returned"]
