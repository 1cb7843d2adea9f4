"""Groups with real workers: never more than N at once, sequences, completion, cancelling, and emitters that die."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from events_core.envelope import Envelope
from events_core.groups import Group, GroupProgress
from events_core.ids import DerivedIds
from events_core.processor import EventProcessor
from events_core.scope import HandlingScope, handling
from tests.apps import grouping
from tests.apps.grouping import Order, Report, Step, Twice
from tests.apps.harness import Rig, rig
from tests.support import processes
from tests.support.processes import Process
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def system(request: pytest.FixtureRequest, redis_server: Any) -> Iterator[Rig]:
    """One rig on each broker, whose two workers have four slots each."""
    rabbitmq = request.getfixturevalue("rabbitmq_server") if request.param == "rabbitmq" else None
    with rig(grouping, request.param, redis_server, rabbitmq) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def workers(system: Rig) -> list[Process]:
    mark = processes.started_so_far()
    made = [system.worker(pool="threads", concurrency=4) for _ in range(2)]
    processes.keep_since(mark)
    return made


def most_at_once(records: list[dict[str, Any]]) -> int:
    """Of recorded starts and ends, in order."""
    running = most = 0
    for line in records:
        running += {"start": 1, "end": -1}.get(line["what"], 0)
        most = max(most, running)
    return most


def figures(progress: GroupProgress) -> tuple[int, int, int, int]:
    assert progress.waiting == progress.running == progress.retrying == 0
    return progress.total, progress.done, progress.dead, progress.cancelled


def left_in_redis(system: Rig, group: Group) -> dict[str, int]:
    """Keys that name the group, each with its time to live, and 0 for each place where something of it is left."""
    client, key = system.parts.coordination.client, system.parts.coordination.key
    found = {name.removeprefix(key("")): client.ttl(name) for name in client.scan_iter(f"*{group.id}*")}
    places = {
        "gates": client.hexists(key("gates"), f"group:{group.id}"),
        "parked:info": group.id in str(client.hvals(key("parked:info"))),
        "parked:messages": group.id in str(client.hvals(key("parked:messages"))),
        "groups:open": client.zscore(key("groups:open"), group.id) is not None,
        "groups:completed": client.zscore(key("groups:completed"), group.id) is not None,
        "gates:due": client.zscore(key("gates:due"), f"group:{group.id}|") is not None,
    }
    return found | {name: 0 for name, there in places.items() if there}


def wait_until_freed(system: Rig, group: Group) -> None:
    """Only its figures stay, for a day."""
    wait_until(
        lambda: list(left_in_redis(system, group)) == [f"group:{group.id}"],
        what=f"the group to be freed; there is {left_in_redis(system, group)}",
    )
    assert 86000 < left_in_redis(system, group)[f"group:{group.id}"] <= 86400


class TestParallel:
    def test_never_more_than_its_number_and_one_completion_event(self, system: Rig) -> None:
        """60 deliveries on 8 slots with 5 places; one of them is dead, one succeeds the second time."""
        failing = {7: 1, 31: 2}
        steps = (Step(tag="five", number=n, fails=failing.get(n, 0), gated=True) for n in range(60))
        group = system.system.emit_group(steps, max_parallel=5, on_complete=Report(tag="five-report"), name="five")
        system.wait_for_records("five", 5, "start")
        system.open_gate("five")
        assert figures(group.wait(60)) == (60, 59, 1, 0)
        assert most_at_once(system.records("five")) == 5
        assert {line["number"] for line in system.records("five", "start")} == set(range(60))
        (report,) = system.wait_for_records("five-report", 1)
        assert (report["group_id"], report["total"], report["done"], report["dead"]) == (group.id, 60, 59, 1)
        wait_until_freed(system, group)
        assert len(system.records("five-report")) == 1
        assert report["correlation_id"] == report["id"]

    def test_found_again_by_its_id(self, system: Rig) -> None:
        group = system.system.emit_group([Step(tag="again", number=1)], max_parallel=1)
        assert system.system.group(group.id).wait(30).state == "completed"
        assert system.system.group(group.id).progress() == group.progress()

    def test_the_unit_is_the_delivery(self, system: Rig) -> None:
        """Two handlers of one event are two members, one after the other with one place."""
        group = system.system.emit_group([Twice(tag="unit", number=number) for number in range(4)], max_parallel=1)
        assert group.wait(30).total == 8
        starts = [(line["number"], line["by"]) for line in system.records("unit", "start")]
        assert starts == [(number, by) for number in range(4) for by in ("first", "second")]
        assert most_at_once(system.records("unit")) == 1

    def test_one_without_events_completes_at_once(self, system: Rig) -> None:
        group = system.system.emit_group([], max_parallel=3, on_complete=Report(tag="empty"))
        assert figures(group.wait(30)) == (0, 0, 0, 0)
        assert system.wait_for_records("empty", 1)[0]["total"] == 0


def test_a_sequence_keeps_its_order_with_a_retry_in_the_middle(system: Rig) -> None:
    """What waits for its retry keeps the only place; a dead one lets the rest go on."""
    steps = [Step(tag="sequence", number=number, fails={4: 1, 7: 2}.get(number, 0)) for number in range(12)]
    group = system.system.emit_group(steps, max_parallel=1)
    assert figures(group.wait(60)) == (12, 11, 1, 0)
    lines = system.records("sequence")
    assert [line["number"] for line in lines if line["what"] == "start"] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 11]
    assert most_at_once(lines) == 1


def test_one_that_is_dead_before_its_handler_is_asked_counts_too(system: Rig) -> None:
    """Here of too many hops: it gives its place back at once, and the group completes."""
    cause = Envelope.of(Order(tag="hops"))
    cause.hops = system.system.settings.max_hops
    scope = HandlingScope("d", "r", cause, "grouping.order", closed=True)
    with handling(scope, DerivedIds("d", UUID(cause.id), datetime.now(UTC))):
        group = system.system.emit_group([Step(tag="hops", number=n) for n in range(3)], max_parallel=1)
    assert figures(group.wait(30)) == (3, 0, 3, 0)
    assert system.records("hops") == []
    wait_until_freed(system, group)


class TestCancelling:
    def test_what_waits_never_runs_and_what_runs_comes_to_its_end(self, system: Rig) -> None:
        steps = [Step(tag="cancel", number=number, gated=True) for number in range(30)]
        group = system.system.emit_group(steps, max_parallel=3, on_complete=Report(tag="cancel-report"))
        system.wait_for_records("cancel", 3)
        before = group.progress()
        assert (before.total, before.running, before.waiting, before.state) == (30, 3, 27, "running")
        group.cancel()
        after = group.progress()
        assert (after.running, after.waiting, after.cancelled, after.state) == (3, 0, 27, "running")
        system.open_gate("cancel")
        assert figures(group.wait(30)) == (30, 3, 0, 27)
        assert system.wait_for_records("cancel-report", 1)[0]["cancelled"] == 27
        wait_until_freed(system, group)
        assert {line["number"] for line in system.records("cancel")} == {0, 1, 2}

    def test_waiting_for_it(self, system: Rig) -> None:
        """`await group` is finished(); a timeout says that the group goes on."""
        group = system.system.emit_group([Step(tag="await", number=n, gated=True) for n in range(2)], max_parallel=1)
        system.wait_for_records("await", 1)

        async def awaited() -> GroupProgress:
            with pytest.raises(TimeoutError, match=f"{group.id} is not finished after 0.1 s; it goes on"):
                await group.finished(0.1)
            await asyncio.to_thread(group.cancel)
            system.open_gate("await")
            return await group

        with pytest.raises(TimeoutError, match="is not finished after 0 s"):
            group.wait(0)
        assert figures(asyncio.run(awaited())) == (2, 1, 0, 1)


class TestProcessor:
    """EventProcessor counts deliveries, in all workers together."""

    def test_some_at_a_time(self, system: Rig) -> None:
        steps = (Step(tag="processor", number=n, gated=True) for n in range(12))
        group = EventProcessor(system.system, 2).emit_events(steps)
        system.wait_for_records("processor", 2, "start")
        system.open_gate("processor")
        assert figures(group.wait(30)) == (12, 12, 0, 0)
        assert most_at_once(system.records("processor")) == 2

    def test_one_after_another(self, system: Rig) -> None:
        """Emitted by an DeliveryEmitter of one's own, and awaited as the mediator that these names come from does."""
        processor = EventProcessor(system.system.emitter, concurrent_event_handle_enable=False)

        async def emit() -> GroupProgress:
            return await (await processor.aemit_events([Twice(tag="one", number=n) for n in range(5)]))

        assert figures(asyncio.run(emit())) == (10, 10, 0, 0)
        starts = [(line["number"], line["by"]) for line in system.records("one", "start")]
        assert starts == [(number, by) for number in range(5) for by in ("first", "second")]
        assert most_at_once(system.records("one")) == 1


class TestEmittedByAHandler:
    def test_a_repeated_run_goes_on_with_the_same_group(self, system: Rig) -> None:
        """Emitted at once, although the run fails after it; the second run makes neither the group nor members anew."""
        emission = system.emit(Order(tag="handler"))
        runs = system.wait_for_records("handler", 2, "emitted")
        system.open_gate("handler")
        group = system.system.group(runs[0]["group"])
        assert figures(group.wait(30)) == (6, 6, 0, 0)
        assert {(line["group"], *line["ids"]) for line in runs} == {(group.id, *runs[0]["ids"])}
        assert sorted(line["number"] for line in system.records("handler", "start")) == list(range(6))
        (report,) = system.wait_for_records("handler", 1, "report")
        assert report["causation_id"] == report["correlation_id"] == str(emission.event_id)


EMITS_AND_STALLS = """
import threading
from events_core import group_emitter
from tests.apps.grouping import Report, Step, events

group_emitter._LEASE = 1000

def steps():
    for number in range(600):
        yield Step(tag="killed", number=number)
    print("stalled", flush=True)
    threading.Event().wait()

events.emit_group(steps(), max_parallel=5, on_complete=Report(tag="killed-report"), name="of the killed one")
"""


@pytest.mark.contract  # a lease has to end
def test_an_emitter_that_is_killed_before_it_has_sealed_the_group(system: Rig, workers: list[Process]) -> None:
    """What has entered runs; the group says what has become of it, once in the logs, and never completes."""
    emitter = processes.start_python("-c", EMITS_AND_STALLS, env=system.environment())
    emitter.wait_for_log("stalled")
    client, key = system.parts.coordination.client, system.parts.coordination.key("groups:open")
    (group_id,) = client.zrange(key, 0, -1)
    group = system.system.group(group_id)
    emitter.kill9()
    progress = group.wait(60)
    assert progress.state == "abandoned"
    assert figures(progress) == (500, 500, 0, 0)
    wait_until_freed(system, group)
    assert group.progress() == progress
    told = [worker.log.count(f"of the killed one ({group_id}) was not emitted to its end") for worker in workers]
    assert sorted(told) == [0, 1]
    assert system.records("killed-report") == []
