"""What the chaos tests share: a supervised group of workers, a killer with a seed, an account of every delivery."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import redis

from events_core import EmitError, EventSystem
from events_worker.dead_letters import DeadLetter
from events_worker.parts import parts_of
from tests.support.processes import Process, start_worker
from tests.support.waiting import wait_until

APP = "tests.chaos.app:events"


def seed() -> int:
    """The seed of this run: CHAOS_SEED, else a new one; printed, so that a failure can be repeated."""
    value = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={value}")
    return value


@dataclass
class Attack:
    """An application with its workers, and the account of what it was promised."""

    env: dict[str, str]
    record: redis.Redis
    pool: str = "threads"
    concurrency: int = 4
    random: random.Random = field(default_factory=lambda: random.Random(seed()))
    workers: list[Process] = field(default_factory=list)
    emitted: set[int] = field(default_factory=set)
    refused: int = 0
    kills: int = 0
    fallen: list[str] = field(default_factory=list)

    def system(
        self, monkeypatch: pytest.MonkeyPatch, only: tuple[str, ...] = ("first", "second", "poisoned")
    ) -> EventSystem:
        """The application's EventSystem, in this process: to emit to some handlers, and to look at its dead letters."""
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)
        from tests.chaos import app

        monkeypatch.setattr(app, "record", self.record)
        system = EventSystem(self.env["CHAOS_SYSTEM"])
        for spec in app.events.event_map.handlers:
            if spec.name.rsplit(".", 1)[-1] not in only:
                continue
            event = app.Poisoned if spec.name.endswith("poisoned") else app.Happened
            system.bind(event, spec.target)
        return system

    def start(self, count: int) -> None:
        """Start the workers."""
        self.workers = [self._worker(ready=False) for _ in range(count)]
        for worker in self.workers:
            worker.wait_for_log(r"\bready\.\s*$", 60)

    def _worker(self, *, ready: bool) -> Process:
        return start_worker(APP, pool=self.pool, concurrency=self.concurrency, env=self.env, ready=ready)

    def emit(self, system: EventSystem, numbers: range, batch: int = 20) -> None:
        """Emit events in batches; those of which every delivery is confirmed are owed an outcome."""
        from tests.chaos.app import Happened

        for start in range(numbers.start, numbers.stop, batch):
            chunk = [Happened(number=n) for n in range(start, min(start + batch, numbers.stop))]
            try:
                system.emit_many(chunk)
            except EmitError:
                self.refused += len(chunk)
            else:
                self.emitted |= {event.number for event in chunk}

    def kill_one(self) -> None:
        """SIGKILL one worker, and have the supervisor start another."""
        index = self.random.randrange(len(self.workers))
        self.workers[index].kill9()
        self.kills += 1
        self.workers[index] = self._worker(ready=False)

    def restart_the_dead(self) -> None:
        """What a supervisor does."""
        for index, worker in enumerate(self.workers):
            if not worker.alive:
                self.fallen.append(f"{worker.name} ended with {worker.exit_code}\n{_telling(worker.log)}")
                self.workers[index] = self._worker(ready=False)

    @contextmanager
    def killing(self, every: float, at_least: int) -> Iterator[None]:
        """Kill a worker every so many seconds while the block runs, and at least so often in all."""
        stop = threading.Event()

        def kill() -> None:
            while not stop.wait(every) or self.kills < at_least:
                self.kill_one()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def missing(self, system: EventSystem, handlers: tuple[str, ...] = ("first", "second")) -> set[tuple[str, int]]:
        """The deliveries that are neither done nor dead, of all that were promised."""
        self.restart_the_dead()
        dead = {_delivery(letter) for letter in dead_letters(system)}
        done = {(name, int(n)) for name in handlers for n in self.record.hkeys(f"done:{name}")}
        return {(name, n) for name in handlers for n in self.emitted} - done - dead

    def wait_for_all(self, system: EventSystem, timeout: float) -> None:
        """Wait until every promised delivery is done or dead; say what is known of those that are not."""
        try:
            wait_until(lambda: not self.missing(system), timeout, "every delivery to be done or dead")
        except AssertionError:
            missing = self.missing(system)
            started = [(name, n) for name, n in missing if self.record.hexists(f"started:{name}", str(n))]
            print(self.report(system), f"; of the lost {len(started)} were started")
            for worker in self.workers:
                print(f"--- {worker.name} alive={worker.alive}\n{_telling(worker.log)}")
            print(*self.fallen, sep="\n--- ")
            raise

    def report(self, system: EventSystem) -> str:
        """The account in one line."""
        starts = sum(int(n) for name in ("first", "second") for n in self.record.hvals(f"started:{name}"))
        return (
            f"{len(self.emitted)} events acknowledged, {self.refused} refused, {self.kills} workers killed, "
            f"{2 * len(self.emitted)} deliveries owed, {starts} starts, {len(dead_letters(system))} dead, "
            f"{len(self.missing(system))} lost"
        )


def dead_letters(system: EventSystem) -> list[DeadLetter]:
    """All of the system's dead letters."""
    return list(parts_of(system).dead_letters.find())


def _delivery(letter: DeadLetter) -> tuple[str, int]:
    message = letter.message or {}
    envelope = json.loads(message["body"])[0][0]
    return str(letter.handler).rsplit(".", 1)[-1], int(envelope["data"]["number"])


def _telling(log: str) -> str:
    """The end of a worker's log without what it says of each delivery that went well."""
    lines = [line for line in log.splitlines() if not line.endswith((" received", "s: None"))]
    return "\n".join(lines[-60:])
