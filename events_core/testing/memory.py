"""A limiter without a server, for tests: limits, keyed limits and rates, in one process, by a clock that stands still.

It passes `events_core.testing.limit_contract`, as the scripts in Redis do. The last definition of a gate is in force.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from events_core.admission.client import Answer, Blocked, Go, Grant, HandOn, Parked, Stale, Undeclared


@dataclass
class _Member:  # until: the end of its lease or grant; None while it waits, at the gate `at`
    name: str
    run: int
    gates: list[str]
    place: int
    message: str | None = None
    token: int = 0
    starts: int = 0
    until: float | None = None
    granted: bool = False
    at: str = ""
    next: bool = False


class InMemoryLimiter:
    """Admits deliveries as `Admission` does. Thread-safe. hand_on: is told what was granted."""

    def __init__(self, hand_on: HandOn) -> None:
        self._hand_on, self._lock = hand_on, threading.Lock()
        self._now, self._numbers = 0.0, itertools.count(1)
        self._definitions: dict[str, list[float]] = {}
        self._members: dict[str, _Member] = {}
        self._next: dict[str, float] = {}  # of each rate: GCRA's theoretical arrival time
        self._grants: list[Grant] = []

    def advance(self, milliseconds: float) -> None:
        """Let time pass. What ends by it is found by the next operation."""
        self._now += milliseconds

    def define(self, definitions: Mapping[str, str]) -> None:
        """Put in force: "limit:smtp" -> its places; "rate:api" -> milliseconds between two, and the burst."""
        with self._step():
            self._definitions |= {name: [float(part) for part in text.split()] for name, text in definitions.items()}

    def acquire(self, member: str, run: int, gates: list[str], lease: int, *, token: int = 0) -> Answer:
        """Ask whether a run of a delivery may begin; see `Admission.acquire`. Raises Undeclared."""
        with self._step():
            known = self._members.get(member)
            if known is None or (known.message is not None and run > known.run):  # the run before never released
                self._members.pop(member, None)
                gate = self._blocked(gates)
                if token or gate is not None:
                    return Stale() if token else Blocked(gate or "")
                return self._begin(self._add(member, run, gates), lease)
            if known.granted and known.token == token:
                return self._begin(known, lease)
            if known.message is None:
                return Blocked("")  # another copy of it runs
            return Parked() if run == known.run else Stale()

    def park(self, member: str, run: int, gates: list[str], lease: int, message: str) -> Answer:
        """Keep the message of a delivery that was blocked until it may run."""
        with self._step():
            known = self._members.get(member)
            if known is None and self._blocked(gates) is None:
                return self._begin(self._add(member, run, gates), lease)
            known = known or self._add(member, run, gates)
            known.message = message
            known.next = run > known.run
            return Parked()

    def renew(self, member: str, token: int, gates: list[str], lease: int) -> bool:
        """Hold the gates for `lease` milliseconds from now. False: they were lost."""
        with self._step():
            known = self._members.get(member)
            if known is not None and known.token == token:
                known.until = self._now + lease
            return known is not None and known.token == token

    def release(self, member: str, token: int, gates: list[str], result: str, *, failed: bool, run: int = 1) -> bool:
        """The run has ended with `result`: done, dead, retry. False: it was not its any more."""
        with self._step():
            known = self._members.get(member)
            if known is None or known.token != token:
                return False
            if known.next:  # the next run was parked before this was heard
                known.until, known.next, known.run, known.starts = None, False, run + 1, 0
            else:
                del self._members[member]
            return True

    def sweep(self) -> tuple[int, int]:
        """Do what nobody else does. -> milliseconds until the next look, or -1, and how many are parked."""
        with self._step():
            known = self._members.values()
            wait = min((one.until or self._free_at(one.at) for one in known), default=math.inf) - self._now
            return -1 if wait == math.inf else math.ceil(wait), sum(one.message is not None for one in known)

    @contextmanager
    def _step(self) -> Iterator[None]:
        with self._lock:
            self._wake()
            yield
            self._wake()
            grants, self._grants = self._grants, []
        if grants:
            self._hand_on(grants)

    def _wake(self) -> None:
        for known in list(self._members.values()):
            if known.until is not None and known.until <= self._now:  # lost: it waits again, if it can
                known.until, known.granted, known.token = None, False, 0
                if known.message is None:
                    del self._members[known.name]
        for known in sorted(self._members.values(), key=lambda known: known.place):
            if known.until is None:
                known.at = self._blocked(known.gates, known.place) or ""
                if not known.at:
                    go = self._begin(known, 3_600_000, granted=True)  # if it has not begun in an hour, it is lost
                    self._grants.append(Grant(known.name, go.token, known.message or ""))

    def _add(self, member: str, run: int, gates: list[str]) -> _Member:
        return self._members.setdefault(member, _Member(member, run, gates, next(self._numbers)))

    def _begin(self, known: _Member, length: int, *, granted: bool = False) -> Go:
        if not known.granted:
            known.token = next(self._numbers)
            for gate in known.gates:  # a limit has no use for it
                self._next[gate] = max(self._next.get(gate, 0.0), self._now) + self._definition(gate)[0]
        known.granted, known.until, known.starts = granted, self._now + length, known.starts + (not granted)
        return Go(known.token, known.starts - 1)

    def _blocked(self, gates: list[str], place: float = math.inf) -> str | None:
        for gate, free_at in [(gate, self._free_at(gate)) for gate in gates]:
            before = (one.at == gate and one.until is None and one.place < place for one in self._members.values())
            if free_at > self._now or any(before):
                return gate
        return None

    def _free_at(self, gate: str) -> float:
        first, *burst = self._definition(gate)
        if burst:
            return self._next.get(gate, 0.0) - (burst[0] - 1) * first
        holders = sum(other.until is not None and gate in other.gates for other in self._members.values())
        return -math.inf if holders < first else math.inf  # nobody knows

    def _definition(self, gate: str) -> list[float]:
        if (name := gate.partition("|")[0]) not in self._definitions:
            raise Undeclared(name)
        return self._definitions[name]
