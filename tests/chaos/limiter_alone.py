"""The limiter without workers: processes that acquire, hold and release, over a queue in a Redis list."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from events_core.admission.client import Admission, Blocked, Go, Grant
from events_core.coordination import Coordination

PREFIX = "alone:"
LIMITS = {"limit:all": 3, "limit:keyed": 1}
KEYS = 5
#: Milliseconds.
LEASE = 2000
_SWEEP_EVERY = 0.5  # seconds

_fork = multiprocessing.get_context("fork")


@dataclass
class Alone:
    """The processes, of which each notes in one file when it begins to hold its places, and when it is about to end.

    What a killed one had in its hands goes back into the queue, as brokers do it.
    """

    url: str
    log: Path
    size: int
    random: random.Random
    killed: dict[int, int] = field(default_factory=dict)  # its number -> when it was gone
    _running: list[tuple[int, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _jobs: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.log.touch()
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        admission = Admission(Coordination(self.client, PREFIX), lambda grants: None)
        for name, places in LIMITS.items():
            admission.call(["override", name, str(places)])
        self._running = [self._start() for _ in range(self.size)]

    def add(self, number: int) -> None:
        """More to do."""
        self.client.lpush("jobs", *(_job(str(next(self._jobs))) for _ in range(number)))

    def _start(self) -> tuple[int, Any]:
        number = next(self._numbers)
        process = _fork.Process(target=_serve, args=(self.url, str(self.log), number), daemon=True)
        process.start()
        return number, process

    def kill_one(self) -> None:
        """SIGKILL to one of them, and another in its place."""
        index = self.random.randrange(self.size)
        number, process = self._running[index]
        process.kill()
        process.join()
        self.killed[number] = time.monotonic_ns()
        for job in self.client.lrange(f"taken:{number}", 0, -1):
            self.client.rpush("jobs", json.dumps({**json.loads(job), "seen": True}))
        self._running[index] = self._start()

    def done(self) -> set[int]:
        """What was done."""
        return {int(line.split()[1]) for line in self._lines() if line.startswith("end")}

    def _lines(self) -> list[str]:
        """Those that are whole: one that crosses a page is seen in two parts."""
        return self.log.read_text().split("\n")[:-1]

    def spans(self) -> dict[str, list[tuple[int, int]]]:
        """Of each gate: from when to when it had each of its holders. One that was killed was one until then."""
        begun: dict[int, tuple[str, int]] = {}
        found: dict[str, list[tuple[int, int]]] = {}

        def end(process: int, at: int) -> None:
            member, begin = begun.pop(process)
            for gate in _gates(member):
                found.setdefault(gate, []).append((begin, at))

        for what, member, number, at in map(str.split, self._lines()):
            if what == "begin":
                begun[int(number)] = member, int(at)
            else:
                end(int(number), int(at))
        for process in list(begun):
            end(process, self.killed[process])
        return found

    def close(self) -> None:
        """Ends them."""
        for _, process in self._running:
            process.kill()
            process.join()
        self.client.close()


def _gates(member: str) -> list[str]:
    """One place of three, and the only one of its key."""
    return ["limit:all|", f"limit:keyed|{int(member) % KEYS}"]


def _job(member: str, token: int = 0) -> str:
    return json.dumps({"member": member, "token": token, "seen": token != 0})


class _Holder:
    """What one process does."""

    def __init__(self, url: str, log: str, number: int) -> None:
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.admission = Admission(Coordination(self.client, PREFIX), self._hand_on)
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._number = number
        self._next_sweep = 0.0

    def _hand_on(self, grants: Sequence[Grant]) -> None:
        first = [_job(grant.member, grant.token) for grant in grants]
        self.client.rpush("jobs", *first)
        self.admission.later(["sent", [(grant.member, grant.token) for grant in grants]])

    def serve(self) -> None:
        taken = f"taken:{self._number}"
        while True:
            if time.monotonic() >= self._next_sweep:
                self._next_sweep = time.monotonic() + _SWEEP_EVERY
                self.admission.call(["sweep"])
            job = self.client.blmove("jobs", taken, timeout=1, src="RIGHT", dest="LEFT")
            if job is not None:
                self._run(**json.loads(str(job)))
                self.client.lrem(taken, 1, str(job))

    def _run(self, member: str, token: int, seen: bool) -> None:
        gates = _gates(member)
        answer = self.admission.acquire(member, 1, gates, LEASE, token=token)
        if isinstance(answer, Blocked):
            answer = self.admission.park(member, 1, gates, LEASE, _job(member))
        if isinstance(answer, Go):
            self._note("begin", member)
            self._hold(["renew", member, answer.token, gates, LEASE])
            self._note("end", member)
            self.admission.release(member, answer.token, gates, "done", failed=False)

    def _hold(self, renewal: list[Any]) -> None:
        """For a moment; a few of a thousand for longer than its lease."""
        until = time.monotonic() + (1.5 * LEASE / 1000 if random.random() < 0.003 else random.uniform(0.002, 0.03))
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LEASE / 3000))
            self.admission.call(renewal)

    def _note(self, what: str, member: str) -> None:
        os.write(self._file, f"{what} {member} {self._number} {time.monotonic_ns()}\n".encode())


def _serve(url: str, log: str, number: int) -> None:
    _Holder(url, log, number).serve()
