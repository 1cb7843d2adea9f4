"""Promises 4 and 8 under SIGKILL and SIGSTOP: limits hold, no place is lost, order is kept."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.limited_app import Completed, Fenced, Member, Sized, Step, Work
from tests.chaos.limiter_alone import LIMITS, PREFIX, Alone
from tests.chaos.limits_support import Fleet, Run, by_key, highest, left, most
from tests.chaos.support import seed
from tests.support import servers
from tests.support.waiting import wait_until

#: Of three handlers together.
DELIVERIES = int(os.environ.get("LIMITS_DELIVERIES", "5000"))
PLACES = {"one": 1, "three": 3, "ten": 10}
KEYS = 4
KILLS = 15
ORDERED_KEYS, ORDERED_EVENTS = 200, 50
MEMBERS = 2000

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture
def fleet(
    redis_server: servers.RedisServer | servers.GivenRedis, redis_url: str, system_name: str, tmp_path: Path
) -> Iterator[Fleet]:
    made = Fleet(system_name, redis_url, tmp_path / "log")
    yield made
    made.close()


def test_workers_killed(fleet: Fleet) -> None:
    """5,000 deliveries to limits of 1, 3 and 10 for each key; of 6 workers 2 are SIGKILLed in turn, 15 times."""
    fleet.start(("threads", 12), ("prefork", 6), ("threads", 12), ("threads", 12), ("threads", 12), ("prefork", 6))
    events = -(-DELIVERIES // len(PLACES))
    fleet.system.emit_many([Work(number=n, key=str(n % KEYS), seconds=0.08) for n in range(events)])
    owed = events * len(PLACES)
    with fleet.killing(every=3.0, times=KILLS, victims=(0, 1)):
        fleet.wait_for(lambda: len(fleet.settled()) == owed, 200, "every delivery to be done")
    seconds = _until_free(fleet)
    runs = fleet.runs()
    seen = {name: max(map(highest, by_key(run for run in runs if run.handler == name).values())) for name in PLACES}
    print(f"{owed} deliveries, {_account(fleet, runs)}; most live holders of one key: {seen}; {seconds}")
    assert seen == PLACES  # reached, and not exceeded
    assert len(fleet.killed) == KILLS
    _assert_dead_by_kills(fleet)


def test_solo_workers_killed(own_redis_server: servers.RedisServer, system_name: str, tmp_path: Path) -> None:
    """Short runs under -P solo, each asked for as the one before ends; workers are SIGKILLed 8 times, Redis 3 times."""
    fleet = Fleet(system_name, own_redis_server.url(), tmp_path / "log")
    try:
        fleet.start(*[("solo", 1)] * 4)
        events = [Work(number=n, key=str(n % KEYS), seconds=0.001) for n in range(1500)]
        fleet.system.emit_many(events)
        owed = len(events) * len(PLACES)
        with fleet.killing(every=0.8, times=8, victims=(0, 1)) as killer:
            for done in (owed // 8, owed // 4, owed // 2):
                fleet.wait_for(lambda done=done: len(fleet.settled()) >= done, 120, f"{done} to be done")
                own_redis_server.kill()
                own_redis_server.start()
            killer.join()
        fleet.wait_for(lambda: len(fleet.settled()) == owed, 120, "every delivery to be done")
        seconds = _until_free(fleet)
        runs = fleet.runs()
        seen = {name: max(map(highest, by_key(run for run in runs if run.handler == name).values())) for name in PLACES}
        print(f"{owed} deliveries, {_account(fleet, runs)}; most live holders of one key: {seen}; {seconds}")
        assert all(seen[name] <= PLACES[name] for name in PLACES)
        assert len(fleet.killed) == 8
        _assert_dead_by_kills(fleet)
    finally:
        fleet.close()


def test_limiter_alone(redis_server: servers.RedisServer | servers.GivenRedis, redis_url: str, tmp_path: Path) -> None:
    """No workers, only processes that acquire, hold and release; one is SIGKILLed every 0.35 s, 60 times."""
    kills, added, chance = 60, 30, random.Random(seed())
    alone = Alone(redis_url, tmp_path / "log", 6, chance)
    try:
        for _ in range(kills):
            alone.add(added)
            time.sleep(chance.uniform(0.25, 0.45))  # the pace of the attack: nothing waits for it
            alone.kill_one()
        owed = set(range(kills * added))
        wait_until(lambda: alone.done() == owed, 60, "all to be done")
        last = max(end for spans in alone.spans().values() for _, end in spans)
        wait_until(lambda: not left(alone.client, PREFIX), 60, "every place to be free")
        seconds = (time.monotonic_ns() - last) / 1e9
    finally:
        alone.close()
    spans = alone.spans()
    held = spans.pop("limit:all|")
    seen = {"limit:all": most(held), "limit:keyed": max(map(most, spans.values()))}
    print(
        f"{len(owed)} done in {len(held)} runs, {len(alone.killed)} processes killed; most live holders: {seen}; "
        f"the last place was free {seconds:.2f} s after the last run"
    )
    assert seen == LIMITS


def test_holder_that_stood_still(fleet: Fleet, tmp_path: Path) -> None:
    """SIGSTOP of a holder for longer than its lease: the next begins, and the first one's token is refused."""
    go_on = tmp_path / "go-on"
    fleet.start(("threads", 1))
    fleet.system.emit(Fenced(number=1, gate=str(go_on)))
    fleet.wait_for(lambda: fleet.runs("fenced"), 30, "the first holder")
    fleet.start(("threads", 1))
    fleet.system.emit(Fenced(number=2, gate=str(tmp_path)))  # waits for nothing but its place
    fleet.wait_for(lambda: "waiters" in fleet.left(), 30, "the second to wait")
    stopped = fleet.workers[0]
    stopped.signal(signal.SIGSTOP)
    begin = time.monotonic_ns()
    fleet.wait_for(lambda: _writes(fleet), 60, "the second to write")
    second = next(run for run in fleet.runs("fenced") if run.number == 2)
    go_on.touch()
    stopped.signal(signal.SIGCONT)
    fleet.wait_for(lambda: len(_writes(fleet)) > 1, 60, "the first to write")
    stopped.wait_for_log("lost its place at limit:fenced")
    seconds = _until_free(fleet)
    writes = _writes(fleet)[:2]
    print(f"the second began {(second.begin - begin) / 1e9:.1f} s after the first stood still: {writes}; {seconds}")
    (number, high, said), (other, low, answer) = writes
    assert (number, said, other, answer) == ("2", "accepted", "1", "refused")
    assert int(low) < int(high)


def test_order_kept(fleet: Fleet) -> None:
    """200 keys with 50 events each, of which some fail and are retried; workers are SIGKILLed 5 times."""
    fleet.start(("threads", 8), ("prefork", 4))
    for number in range(ORDERED_EVENTS):
        fleet.system.emit_many([Step(number=number, key=str(key)) for key in range(ORDERED_KEYS)])
    owed = ORDERED_KEYS * ORDERED_EVENTS
    with fleet.killing(every=3.0, times=5, victims=(0, 1)):
        fleet.wait_for(lambda: len(fleet.settled()) == owed, 200, "every event to be done")
    seconds = _until_free(fleet)
    runs = fleet.runs()
    keys = by_key(runs).values()
    inversions = sum(map(_inversions, keys))
    at_once = max(map(highest, keys))
    stood = max(after.begin - before.end for own in keys for before, after in pairwise(own)) / 1e9
    print(
        f"{owed} events, {_account(fleet, runs)}; {inversions} inversions, {at_once} at once of a key, which stood "
        f"still for {stood:.1f} s at the most; {seconds}"
    )
    assert inversions == 0
    assert at_once == 1
    _assert_dead_by_kills(fleet)


def test_group(fleet: Fleet) -> None:
    """2,000 events of which 20 may run at once; workers are SIGKILLed 5 times."""
    fleet.start(("threads", 15), ("prefork", 8), ("threads", 15))
    members = (Member(number=n, seconds=0.1) for n in range(MEMBERS))
    group = fleet.system.emit_group(members, max_parallel=20, on_complete=Completed)
    with fleet.killing(every=2.0, times=5, victims=(0, 1, 2)):
        fleet.wait_for(lambda: group.progress().finished, 200, "the group to be finished")
    fleet.wait_for(lambda: fleet.runs("completed"), 60, "its completion event")
    seconds = _until_free(fleet)
    runs, progress, told = fleet.runs("member"), group.progress(), fleet.runs("completed")
    print(f"{progress}, {_account(fleet, runs)}; most at once: {highest(runs)}; told {len(told)} times; {seconds}")
    assert highest(runs) == 20
    assert (progress.total, progress.done + progress.dead) == (MEMBERS, MEMBERS)
    assert {(run.number, run.key) for run in told} == {(MEMBERS, told[0].key)}
    assert progress.dead == len(fleet.dead())
    _assert_dead_by_kills(fleet)


def test_limit_set_while_it_is_in_use(fleet: Fleet) -> None:
    """From 2 to 20 and to 1 in the middle of a run: the holders follow, and nobody is interrupted."""
    number = 80
    fleet.start(("threads", 15), ("threads", 15))
    emissions = fleet.system.emit_many([Sized(number=n, seconds=0.4) for n in range(number)])
    members = {emission.deliveries[0].task_id: n for n, emission in enumerate(emissions)}
    fleet.wait_for(lambda: len(fleet.settled()) > 4, 30, "some to be done")
    raised = time.monotonic_ns()
    fleet.call("override", "limit:sized", "20")
    fleet.wait_for(lambda: len(fleet.settled()) > 40, 30, "more to be done")
    fleet.call("override", "limit:sized", "1")
    # No other is admitted before they have all ended.
    admitted = {members[member] for member in fleet.held("limit:sized|")} | {run.number for run in fleet.runs()}
    fleet.wait_for(lambda: len(fleet.settled()) == number, 60, "all to be done")
    seconds = _until_free(fleet)
    runs = fleet.runs()
    first = [run for run in runs if run.begin < raised]
    last = [run for run in runs if run.number not in admitted]
    seen = [highest(part) for part in (first, [run for run in runs if run.number in admitted], last)]
    print(f"{number} deliveries, {_account(fleet, runs)}; most at once under limits of 2, 20 and 1: {seen}; {seconds}")
    assert seen == [2, 20, 1]
    assert max(run.end for run in runs if run.number in admitted) < last[0].begin
    assert [run.how for run in runs] == ["done"] * number


def _until_free(fleet: Fleet) -> str:
    """Waits until nothing holds a place or waits for one; says how long after the last run that was."""
    last = max(run.end for run in fleet.runs())
    fleet.wait_for(lambda: not fleet.left(), 60, "every place to be free")
    return f"the last place was free {(time.monotonic_ns() - last) / 1e9:.2f} s after the last run"


def _account(fleet: Fleet, runs: list[Run]) -> str:
    failed, killed = (sum(run.how == how for run in runs) for how in ("failed", "killed"))
    return (
        f"{len(runs)} runs, {failed} failed, {killed} killed with {len(fleet.killed)} workers, {len(fleet.dead())} dead"
    )


def _assert_dead_by_kills(fleet: Fleet) -> None:
    """Killed in three starts, the last of them alone, a delivery is dead, as promise 5 says, whoever killed it."""
    assert {letter.reason for letter in fleet.dead()} <= {"poison"}


def _inversions(runs: list[Run]) -> int:
    """How many began first after one with a higher number had begun; repeats do not count."""
    newest, seen, found = -1, set[int](), 0
    for run in runs:
        found += run.number < newest and run.number not in seen
        newest = max(newest, run.number)
        seen.add(run.number)
    return found


def _writes(fleet: Fleet) -> list[list[str]]:
    """What was written to the resource: number, token, accepted or refused."""
    return [str(write).split() for write in fleet.client.lrange("fenced:writes", 0, -1)]
