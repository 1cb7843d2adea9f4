"""Limited deliveries on real workers: what runs at once, what waits, and what is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import limited
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until


@pytest.fixture
def made(redis_server: Any) -> Iterator[Rig]:
    with rig(limited, "redis", redis_server) as one:
        yield one


@pytest.fixture(params=["stock", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def handing_on(request: pytest.FixtureRequest, redis_server: Any) -> Iterator[Rig]:
    """A broker whose queues the script in the coordination Redis cannot write to."""
    if request.param == "stock":
        made = rig(limited, "redis", redis_server, redis_transport="stock")
    else:
        made = rig(limited, "rabbitmq", redis_server, request.getfixturevalue("rabbitmq_server"))
    with made as one:
        yield one


def parked(made: Rig) -> int:
    """How many are kept in Redis: what waits, and what was granted from there and is not settled."""
    return int(made.parts.coordination.client.hlen(f"{made.name}:parked:messages"))


def left(made: Rig) -> list[str]:
    """The keys of admission, without what the handlers' definitions and the counter need."""
    keys = made.parts.coordination.client.scan_iter(f"{made.name}:*", count=1000)
    names = sorted(key.removeprefix(f"{made.name}:") for key in keys)
    return [name for name in names if name.startswith(("gate:", "parked:", "gates:due", "gates:granted", "gates:tok"))]


def never_more_than_three_inside(made: Rig) -> None:
    inside = 0
    for line in made.records("a"):
        inside += 1 if line["what"] == "in" else -1
        assert inside <= 3


def nothing_is_left(made: Rig) -> None:
    wait_until(lambda: not left(made), 30, f"no key of admission to be left: {left(made)}")


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_never_more_than_the_limit_and_all_in_the_end(made: Rig, pool: str) -> None:
    """Two workers: two limits of one handler hold together, what waits holds no slot, and nothing is left."""
    for _ in range(2):
        made.worker(pool, 1 if pool == "solo" else 4)
    made.emit_many([limited.Mail(tag="a", tenant=tenant) for tenant in ("one", "two") for _ in range(6)])
    at_most = 2 if pool == "solo" else 3
    made.wait_for_records("a", at_most, "in")
    if pool != "solo":  # a slot is free for others, although nine deliveries wait
        made.emit(limited.Free(tag="free"))
        made.wait_for_records("free", 1)
        made.wait_for_empty_queue()
    assert len(made.records("a", "in")) == at_most
    made.open_gate("a")
    made.wait_for_records("a", 12, "out")
    inside: dict[str, int] = {"one": 0, "two": 0}
    for line in made.records("a"):
        inside[line["tenant"]] += 1 if line["what"] == "in" else -1
        assert sum(inside.values()) <= 3
        assert max(inside.values()) <= 2
    fences = [line["fence"] for line in made.records("a", "in")]
    assert len(set(fences)) == 12
    nothing_is_left(made)


def test_where_a_process_publishes_what_is_granted(handing_on: Rig) -> None:
    """In which the streams are not in the coordination Redis: the limit holds, all run, and nothing is left."""
    assert handing_on.parts.coordination.streams is None
    handing_on.worker("threads", 4)
    handing_on.worker("prefork", 2)
    handing_on.emit_many([limited.Mail(tag="a", tenant=str(number)) for number in range(12)])
    handing_on.wait_for_records("a", 3, "in")
    wait_until(lambda: handing_on.waiting() == 9, what="the others to be parked")
    assert len(handing_on.records("a", "in")) == 3
    handing_on.open_gate("a")
    handing_on.wait_for_records("a", 12, "out")
    never_more_than_three_inside(handing_on)
    nothing_is_left(handing_on)


def test_a_killed_holders_place_is_free_after_its_lease(made: Rig) -> None:
    """Promise 4: its permits come back, its deliveries run again, nothing is dead or left."""
    kill_the_holders(made)
    made.wait_for_records("a", 5, "out")
    assert len(made.records("a", "in")) == 8
    assert made.letters() == []
    nothing_is_left(made)


def test_the_same_where_a_process_publishes_what_is_granted(handing_on: Rig) -> None:
    """Kombu's own Redis transport gives back what a killed worker held after an hour: those that waited run."""
    kill_the_holders(handing_on)
    run = 2 if handing_on.settings else 5
    handing_on.wait_for_records("a", run, "out")
    assert len(handing_on.records("a", "in")) == 3 + run
    assert handing_on.letters() == []
    nothing_is_left(handing_on)


def kill_the_holders(made: Rig) -> None:
    """Of five, three run, and are killed while two wait; another worker goes on."""
    worker = made.worker("threads", 4, env={"TEST_LEASE": "2"})
    made.emit_many([limited.Mail(tag="a", tenant=str(number)) for number in range(5)])
    made.wait_for_records("a", 3, "in")
    wait_until(lambda: made.waiting() == 2, what="two to be parked")
    wait_until(lambda: made.unacknowledged() + parked(made) == 5, what="what is parked to be acknowledged")
    worker.kill9()
    made.worker("threads", 4, env={"TEST_LEASE": "2"})
    made.open_gate("a")


def test_a_worker_that_is_told_its_queues_consumes_what_is_granted(made: Rig) -> None:
    """-Q names the queue of the handler; the grants beside it come along."""
    made.worker("threads", 6, queues=[made.queue])
    made.emit_many([limited.Mail(tag="a", tenant=str(number)) for number in range(6)])
    made.wait_for_records("a", 3, "in")
    made.open_gate("a")
    made.wait_for_records("a", 6, "out")


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_worker_that_ends_leaves_no_place_taken(made: Rig, pool: str) -> None:
    """Releases that wait for others to go with are sent when the process ends, not when the lease does."""
    worker = made.worker(pool, 1 if pool == "solo" else 3)
    made.open_gate("a")
    made.emit_many([limited.Mail(tag="a", tenant=str(number)) for number in range(3)])
    made.wait_for_records("a", 3, "out")
    assert worker.terminate() == 0
    assert left(made) == []


def test_a_rate_spaces_what_begins(made: Rig) -> None:
    """20 a second, evenly: none comes much sooner than 50 ms after the one before, and all come."""
    made.worker("threads", 4)
    before = time.time()
    made.emit_many([limited.Call(tag="a") for _ in range(30)])
    called = made.wait_for_records("a", 30, "called")
    last = max(line["at"] for line in called)
    assert last - before >= 29 / 20 - 0.05  # a lower bound: however slow the machine is, it holds
    nothing_is_left(made)


def test_a_breaker_opens_and_a_fallback_takes_what_is_exhausted(made: Rig) -> None:
    """After two failures in a row deliveries wait; one probes; when it succeeds all go on."""
    made.worker("threads", 4)
    made.emit(limited.Charge(tag="first"))
    made.wait_for_records("first", 1, "instead")  # its three attempts failed, the later ones as probes
    state = f"{made.name}:gate:state:breaker:bank|"
    wait_until(lambda: made.unacknowledged() == 0, what="it to be settled")
    assert made.parts.coordination.client.hexists(state, "until")  # the fallback is no answer of the bank's
    made.emit_many([limited.Charge(tag="later") for _ in range(5)])
    made.open_gate("bank")
    made.wait_for_records("later", 5, "charged")
    assert made.letters() == []
    nothing_is_left(made)


def test_pause_and_resume(made: Rig) -> None:
    """What arrives while the handler is paused waits, and holds up nobody; all of it runs after that."""
    made.worker("threads", 2)
    admission = made.parts.turns.admission
    admission.call(["pause", "free"])
    wait_until(lambda: _is_parked(made, "probe"), 30, "the worker to see the pause")
    made.emit_many([limited.Free(tag="a") for _ in range(150)])
    made.wait_for_empty_queue()
    made.emit(limited.Call(tag="other"))
    made.wait_for_records("other", 1)
    assert made.records("a") == []
    admission.call(["resume", "free"])
    made.wait_for_records("a", 150)
    nothing_is_left(made)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_what_was_parked_by_a_pause_has_a_lease(made: Rig, pool: str) -> None:
    """Resumed, its handler has no gate any more: it runs once, for as long as it lasts."""
    made.parts.turns.admission.call(["pause", "nap"])
    first = made.worker(pool, 4)  # a worker looks at its start who is paused
    made.emit_many([limited.Nap(tag="a") for _ in range(3)])
    wait_until(lambda: parked(made) == 3, 30, "them to be parked")
    assert first.terminate() == 0
    made.parts.turns.admission.call(["resume", "nap"])
    made.worker(pool, 4)
    made.wait_for_records("a", 3, "in")
    client = made.parts.coordination.client
    now, _ = client.time()
    leases = client.zrange(f"{made.name}:gates:granted", 0, -1, withscores=True)
    assert len(leases) == 3
    assert all(end / 1000 - now > 10 for _, end in leases), leases
    made.open_gate("a")
    made.wait_for_records("a", 3, "out")
    nothing_is_left(made)
    assert len(made.records("a", "in")) == 3


def _is_parked(made: Rig, tag: str) -> bool:
    made.emit(limited.Free(tag=tag))
    made.wait_for_empty_queue()
    return bool(made.parts.coordination.client.hlen(f"{made.name}:parked:messages"))


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_ordered_by_key(redis_server: Any, rabbitmq_server: Any, broker: str) -> None:
    """Within a key as emitted, one at a time, past retries and a dead one; keys in parallel."""
    with rig(limited, broker, redis_server, rabbitmq_server) as made:
        for _ in range(2):
            made.worker("threads", 4)
        numbers = [1, 2, 3, 99, 4, 5, 6]
        made.emit_many([limited.Step(tag="a", order=order, number=number) for number in numbers for order in "xyz"])
        stepped = made.wait_for_records("a", 18, "stepped")
        for order in "xyz":
            assert [line["number"] for line in stepped if line["order"] == order] == [1, 2, 3, 4, 5, 6]
        assert len(made.letters()) == 3
        nothing_is_left(made)


def test_a_dead_one_holds_its_key_until_it_is_redriven(made: Rig) -> None:
    """on_dead="hold": those behind it wait; another key goes on; redriving releases them in order."""
    made.worker("threads", 4)
    made.emit_many([limited.Sealed(tag="a", order="x", number=number) for number in (1, 2, 3)])
    letter = made.letter()
    made.emit(limited.Sealed(tag="b", order="y", number=2))
    made.wait_for_records("b", 1)
    assert made.records("a") == []
    made.open_gate("a")
    ran = made.events("dead", "redrive", "--yes", letter.id)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line["number"] for line in made.wait_for_records("a", 3)] == [1, 2, 3]
    nothing_is_left(made)


@pytest.mark.parametrize("how", ["discarded", "pruned"])
def test_a_dead_one_that_is_given_up_holds_its_key_no_more(made: Rig, how: str) -> None:
    """Those behind it go on, in order, without it."""
    made.worker("threads", 4)
    made.emit_many([limited.Sealed(tag="a", order="x", number=number) for number in (1, 2, 3)])
    letter = made.letter()
    if how == "discarded":
        assert made.events("dead", "discard", "--yes", letter.id).returncode == 0
    else:
        made.parts.coordination.client.zadd(f"{made.name}:dead", {letter.id: 0})
        made.dead.prune()  # or the worker has just done it
        assert made.letters() == []
    assert [line["number"] for line in made.wait_for_records("a", 2)] == [2, 3]
    nothing_is_left(made)
