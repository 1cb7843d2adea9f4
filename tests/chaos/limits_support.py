"""What the kill tests of limits share: a fleet of workers, what its handlers noted, what is left in Redis."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import redis

from events_core import EventSystem
from events_worker.dead_letters import DeadLetter
from events_worker.parts import parts_of
from tests.chaos import limited_app
from tests.chaos.support import dead_letters, seed
from tests.support.processes import READY, Process, start_worker
from tests.support.waiting import wait_until

APP = "tests.chaos.limited_app:events"
FOREVER = 1 << 62


@dataclass(frozen=True)
class Run:
    """A run as its handler noted it. Times: nanoseconds of CLOCK_MONOTONIC. how: done, failed, killed or running."""

    handler: str
    number: int
    key: str
    worker: str
    token: int
    begin: int
    end: int
    how: str


@dataclass
class Fleet:
    """Workers of `limited_app` on one Redis, and an EventSystem in this process that emits to them."""

    name: str
    url: str
    log: Path
    random: random.Random = field(default_factory=lambda: random.Random(seed()))
    workers: list[Process] = field(default_factory=list)
    pools: list[tuple[str, int]] = field(default_factory=list)
    killed: dict[str, int] = field(default_factory=dict)  # number of the worker -> when it was gone
    _names: dict[int, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _noted: dict[str, Run] = field(default_factory=dict)
    _done: set[tuple[str, str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.log.touch()
        self._file = self.log.open()
        self._rest = ""
        self.system = limited_app.bind(EventSystem(self.name, broker_url=self.url, redis_url=self.url))
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def start(self, *pools: tuple[str, int]) -> None:
        """Starts a worker for each: its pool and concurrency."""
        started = [self._worker(pool, concurrency) for pool, concurrency in pools]
        self.workers += started
        self.pools += pools
        for worker in started:
            worker.wait_for_log(READY, 60)

    def _worker(self, pool: str, concurrency: int) -> Process:
        number = str(next(self._numbers))
        env = {
            "EVENTS_BROKER_URL": self.url,
            "EVENTS_REDIS_URL": self.url,
            "TEST_SYSTEM": self.name,
            limited_app.LOG: str(self.log),
            limited_app.RESOURCE: self.url,
            limited_app.WORKER: number,
        }
        ahead = ["--prefetch-multiplier", "64"] if pool == "solo" else []  # it asks early for what it has in advance
        worker = start_worker(APP, pool=pool, concurrency=concurrency, env=env, ready=False, extra=ahead)
        self._names[worker.pid] = number
        return worker

    def kill(self, index: int) -> None:
        """SIGKILL to one worker, and another in its place."""
        victim = self.workers[index]
        victim.kill9()
        self.killed[self._names[victim.pid]] = time.monotonic_ns()
        self.workers[index] = self._worker(*self.pools[index])

    @contextmanager
    def killing(self, every: float, times: int, victims: Iterable[int]) -> Iterator[Thread]:
        """Kills one of the victims, in turn, every so many seconds (more or less a tenth), so many times in all."""
        stop, turns = Event(), itertools.cycle(victims)

        def kill() -> None:
            while len(self.killed) < times and not stop.wait(every * self.random.uniform(0.9, 1.1)):
                self.kill(next(turns))

        thread = Thread(target=kill, daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            if thread.is_alive():
                wait_until(lambda: not thread.is_alive(), 2 * every * times, "the last kill")
            stop.set()

    def read(self) -> None:
        """Reads what the handlers have noted since the last time."""
        # a line that crosses a page is seen in two parts
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in lines:
            what, run, handler, number, key, worker, _, token, at = line.split()
            if what == "begin":
                self._noted[run] = Run(handler, int(number), key, worker, int(token), int(at), FOREVER, "running")
            else:
                self._noted[run] = replace(self._noted[run], end=int(at), how=what)
            if what == "done":
                self._done.add((handler, key, int(number)))

    def runs(self, handler: str | None = None) -> list[Run]:
        """What the handlers noted, in the order of their begins. One whose worker was killed ended when it was."""
        self.read()
        found = [self._known_end(run) for run in self._noted.values() if handler in (None, run.handler)]
        return sorted(found, key=lambda run: run.begin)

    def _known_end(self, run: Run) -> Run:
        killed = self.killed.get(run.worker, FOREVER)
        return replace(run, end=killed, how="killed") if killed < run.end else run

    def dead(self) -> list[DeadLetter]:
        """The dead letters."""
        return dead_letters(self.system)

    def settled(self) -> set[tuple[str, str, int]]:
        """Handler, key and number of every delivery that is done or dead."""
        self.read()
        dead = {(name, str(data.get("key", "-")), int(data["number"])) for name, data in map(_content, self.dead())}
        return self._done | dead

    def wait_for(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Waits for it, and tells what is known where it does not come true."""
        try:
            wait_until(condition, timeout, what)
        except AssertionError:
            print(f"left: {self.left()}; kills: {len(self.killed)}; dead: {len(self.dead())}")
            for worker in self.workers:
                said = [line for line in worker.log.splitlines() if not line.endswith((" received", "s: None"))]
                print(f"--- {worker.name} alive={worker.alive}", *said[-30:], sep="\n")
            raise

    def call(self, *operation: Any) -> Any:
        """An operation of the admission scripts."""
        return parts_of(self.system).turns.admission.call(list(operation))

    def held(self, gate: str) -> set[str]:
        """Who holds a place at this gate."""
        return set(map(str, self.client.zrange(f"{self.name}:gate:held:{gate}", 0, -1)))

    def left(self) -> dict[str, int]:
        """How many hold a place, wait for one, or are parked: nothing, where all of them are done."""
        return left(self.client, f"{self.name}:")

    def close(self) -> None:
        """Ends the workers, and closes the connections of this process."""
        for worker in self.workers:
            worker.kill9()
        self.system.close()
        self.client.close()
        self._file.close()


def left(client: redis.Redis, prefix: str) -> dict[str, int]:
    """As `Fleet.left`, of the system with that prefix."""
    found = {
        "holders": sum(client.zcard(key) for key in client.scan_iter(f"{prefix}gate:held:*", 1000)),
        "waiters": sum(client.zcard(key) for key in client.scan_iter(f"{prefix}gate:waiting:*", 1000)),
        "granted": client.zcard(f"{prefix}gates:granted"),
        "tokens": client.hlen(f"{prefix}gates:tokens"),
        "messages": client.hlen(f"{prefix}parked:messages"),
        "infos": client.hlen(f"{prefix}parked:info"),
    }
    return {what: int(number) for what, number in found.items() if number}


def most(spans: Iterable[tuple[int, int]]) -> int:
    """How many of them, each from a begin to an end, there were at once at the most."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    return max(itertools.accumulate(by for _, by in changes), default=0)


def highest(runs: Iterable[Run]) -> int:
    """How many of them were alive at once at the most."""
    return most((run.begin, run.end) for run in runs)


def _content(letter: DeadLetter) -> tuple[str, dict[str, Any]]:
    """Of a dead letter: the name of its handler, and its event's data."""
    envelope = json.loads((letter.message or {})["body"])[0][0]
    return str(letter.handler).rpartition(".")[2], envelope["data"]


def by_key(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each key."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.key, []).append(run)
    return found
