"""limits-parked: whether a million parked deliveries make admission slower, and what one of them takes in Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

import redis

from benchmarks.apps.limited import SYSTEM, Parked, bind
from benchmarks.rounds import alternate
from benchmarks.stage import Stage
from benchmarks.table import Report, Row, Target
from events_core import EventSystem
from events_core.admission.client import Admission, Go, Grant
from events_core.coordination import Coordination
from events_core.envelope import Envelope
from events_core.publishing.stored import StoredMessage
from tests.support import servers

#: Names the number of parked deliveries, for a shorter run.
VARIABLE = "BENCH_PARKED"
PARKED, FEW = 1_000_000, 10
BATCH = 500
TIMES, ROUNDS = 500, 7
LEASE = 3_600_000  # milliseconds: longer than the benchmark
WAITING, FREE = ["limit:parked|"], ["limit:never|"]


def run(stage: Stage) -> Report:
    """The scripts alone, on a Redis without append-only file: one system with many parked, one with ten."""
    number = int(os.environ.get(VARIABLE) or stage.effort.times(PARKED))
    server = servers.own_redis("appendonly no\n")
    try:
        with server.client() as client:
            message = _message(server.url())
            few = Crowd(server.url(), "few:", message, FEW)
            before = int(client.info("memory")["used_memory"])
            many = Crowd(server.url(), "many:", message, number)
            grown = int(client.info("memory")["used_memory"]) - before
        rows = _compare(few, many, stage)
        many.close()
        few.close()
    finally:
        server.close()
    rows.append(Row("memory of Redis for a parked delivery", "bytes", [grown / number]))
    rows.append(Row("its message alone", "bytes", [len(message)]))
    return Report(
        f"limits-parked: admission with {number:,} parked deliveries, beside {FEW}",
        rows,
        ["Both in one Redis, in turn. One operation a round trip. used_memory before and after parking them."],
    )


def _compare(few: Crowd, many: Crowd, stage: Stage) -> list[Row]:
    times, rounds = stage.effort.times(TIMES), stage.effort.rounds(ROUNDS)

    def row(label: str, works: Sequence[Callable[[int], float]], target: Target | None = None) -> Row:
        mine, theirs = alternate(rounds, [lambda work=work: work(times) for work in works])  # type: ignore[misc]
        return Row(label, "µs", mine, theirs, f"{FEW} parked", target=target)

    same = Target("≤", 1.2)
    return [
        row("acquire and release where nothing waits", [many.pass_through, few.pass_through], same),
        row("release where they wait, and acquire of the one that is granted", [many.hand_on, few.hand_on], same),
        row("park", [many.park, few.park]),
    ]


def _message(url: str) -> str:
    """One as workers park it."""
    system = bind(EventSystem(SYSTEM, broker_url=url, redis_url=url))
    event = Parked()
    envelope = Envelope.of(event)
    [message] = system.messages.messages(system.event_map.route(Parked)[:1], event, envelope, envelope.to_json(), None)
    delivery = message.delivery
    return StoredMessage(delivery.handler, delivery.queue, message.headers, message.body.decode()).to_json()


class Crowd:
    """A system of which so many deliveries are parked behind one that runs."""

    def __init__(self, url: str, prefix: str, message: str, number: int) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._grants: list[Grant] = []
        self._admission = Admission(Coordination(self._client, prefix), self._hand_on)
        self._message = message
        for gate, places in (("limit:parked", 1), ("limit:never", 1_000_000)):
            self._admission.call(["override", gate, str(places)])
        self._holder = str(uuid4())
        self._token = self._begin(self._holder, WAITING)
        for left in range(number, 0, -BATCH):
            self._park(min(left, BATCH))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _hand_on(self, grants: Sequence[Grant]) -> None:
        self._grants += grants

    def _begin(self, member: str, gates: list[str], token: int = 0) -> int:
        answer = self._admission.acquire(member, 1, gates, LEASE, token=token)
        assert isinstance(answer, Go), answer
        return answer.token

    def _park(self, number: int) -> None:
        operations = [["park", str(uuid4()), 1, WAITING, LEASE, self._message] for _ in range(number)]
        self._admission.call_many(operations)

    def pass_through(self, times: int) -> float:
        """Microseconds of an acquire and a release at a limit that has room."""
        begin = time.perf_counter()
        for number in range(times):
            member = f"free-{number}"
            self._admission.release(member, self._begin(member, FREE), FREE, "done", failed=False)
        return (time.perf_counter() - begin) / times * 1e6

    def hand_on(self, times: int) -> float:
        """Microseconds of a release that grants, and of the acquire of what was granted. As many wait after it."""
        took = 0.0
        for _ in range(times):
            begin = time.perf_counter()
            self._admission.release(self._holder, self._token, WAITING, "done", failed=False)
            grant = self._grants.pop()
            self._holder, self._token = grant.member, self._begin(grant.member, WAITING, grant.token)
            took += time.perf_counter() - begin
            self._park(1)
        return took / times * 1e6

    def park(self, times: int) -> float:
        """Microseconds of parking one more. They stay."""
        begin = time.perf_counter()
        for _ in range(times // 10):
            self._park(1)
        return (time.perf_counter() - begin) / (times // 10) * 1e6
