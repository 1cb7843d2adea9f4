"""A Celery worker over the broker: what is asked of it, told to it, and seen of it."""

from __future__ import annotations

from typing import Any

import pytest
from celery.events import EventReceiver

from tests.contract.promises import promised
from tests.contract.workers import Station
from tests.support.waiting import wait_until


def ids(tasks: list[dict[str, Any]] | None) -> set[str]:
    """The ids of what `inspect` shows; none where nobody answered."""
    return {task.get("request", task)["id"] for task in tasks or []}


def test_inspect_tells_that_it_lives_and_what_it_has_done(standing: Station) -> None:
    """ping, stats and registered, each by fanout and answered to a queue of the asker's own."""
    assert standing.inspect("ping") == {"ok": "pong"}
    standing.send("quick", 1)
    standing.wait_for("end", 1)
    assert standing.inspect("stats")["total"]["contract.quick"] >= 1
    assert "contract.quick" in standing.inspect("registered")


def test_inspect_shows_what_runs_and_what_waits_and_revoke_ends_the_waiting(standing: Station) -> None:
    """Two run, the rest is reserved; a revoked one never starts."""
    sent = standing.send("held", 11, 12, 13, 14)
    standing.wait_for("start", 11, 12)
    wait_until(lambda: ids(standing.inspect("active")) == set(sent[:2]), what="the first two to be active")
    wait_until(lambda: ids(standing.inspect("reserved")) == set(sent[2:]), what="the others to be reserved")
    standing.client.control.revoke(sent[3], reply=True, timeout=5, limit=1)
    standing.open()
    standing.wait_for("end", 11, 12, 13)
    standing.wait_until_idle()
    assert standing.noted("start")[14] == 0


def test_a_task_of_the_near_future_is_scheduled_and_then_runs_once(standing: Station) -> None:
    """An ETA of a few seconds."""
    (sent,) = standing.send("quick", 21, countdown=4)
    wait_until(lambda: ids(standing.inspect("scheduled")) == {sent}, what="it to be scheduled")
    assert standing.noted("start")[21] == 0
    standing.wait_for("end", 21)
    standing.wait_until_idle()
    assert standing.noted("end")[21] == 1


def test_a_retried_task_comes_again(standing: Station) -> None:
    """Twice, each time a quarter of a second later."""
    standing.send("retried", 31)
    standing.wait_for("end", 31)
    standing.wait_until_idle()
    assert standing.noted("start")[31] == 3
    assert standing.noted("end")[31] == 1


def test_a_task_that_puts_itself_back_comes_again_marked(standing: Station) -> None:
    """Reject(requeue=True); the second run sees `redelivered`."""
    standing.send("rejected", 41)
    standing.wait_for("end", 41)
    standing.wait_until_idle()
    assert [what for what, number, _ in standing.account() if number == 41] == ["start", "again", "end"]


def test_a_task_with_a_priority_and_an_expiry_runs(standing: Station) -> None:
    standing.send("quick", 51, priority=5, expires=60)
    standing.wait_for("end", 51)


def test_its_events_are_seen(standing: Station) -> None:
    """Received, started, succeeded, as Flower sees them: fanout."""
    seen: set[tuple[str, str]] = set()

    def saw(event: dict[str, Any]) -> None:
        seen.add((event["type"], event.get("uuid", "")))

    with standing.client.connection_for_read() as connection:
        receiver = EventReceiver(connection, app=standing.client, handlers={"*": saw})
        with receiver.consumer_context() as (listening, _, _):

            def heard() -> bool:
                (sent,) = standing.send("quick", 61)  # another one for each look: the first may come before we listen
                wanted = {(f"task-{what}", sent) for what in ("received", "started", "succeeded")}
                try:
                    while not wanted <= seen:
                        listening.drain_events(timeout=1)
                except TimeoutError:
                    pass
                assert wanted <= seen, seen
                return True

            wait_until(heard, 30, "the events of a task")


def test_it_can_be_told_to_leave_a_queue_and_to_take_it_up_again(standing: Station) -> None:
    """cancel_consumer and add_consumer: what comes meanwhile waits."""
    control = standing.client.control
    assert control.cancel_consumer(standing.queue, reply=True, timeout=5, limit=1)
    standing.send("quick", 71)
    standing.broker.wait_for_ready(standing.broker.queue(), 1)
    assert control.add_consumer(standing.queue, reply=True, timeout=5, limit=1)
    standing.wait_for("end", 71)
    standing.wait_until_idle()
    assert standing.noted("start")[71] == 1


@promised()
def test_a_running_task_is_revoked_and_its_process_ended(station: Station) -> None:
    """revoke with terminate, prefork; the worker goes on with what is next."""
    station.start(pool="prefork", concurrency=1)
    (sent,) = station.send("held", 1)
    station.wait_for("start", 1)
    station.client.control.revoke(sent, terminate=True, signal="SIGKILL", reply=True, timeout=5, limit=1)
    station.send("quick", 2)
    station.wait_for("end", 2)
    station.wait_until_idle()
    assert station.noted("start") == {1: 1, 2: 1}
    assert station.noted("end")[1] == 0


@promised("garbage")
def test_it_survives_garbage_and_goes_on(station: Station) -> None:
    """What is no task is dropped, or at least stops nobody."""
    worker = station.start(pool="solo")
    for raw in (b"\xff\x00garbage", b"{}", b"null"):
        station.broker.inject(station.queue, raw)
    station.send("quick", 1)
    station.wait_for("end", 1)
    assert worker.alive
    station.wait_until_idle()


pytestmark = pytest.mark.timeout(120)
