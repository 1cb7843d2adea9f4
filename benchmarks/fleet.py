"""Workers of the application with limits, and the system that gives them work."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks.apps import limited
from benchmarks.apps.marks import VARIABLE, Marks
from benchmarks.crew import START, WORK, Pairs
from benchmarks.sides import Pool
from benchmarks.stage import Broker
from events_core import Event, EventSystem
from events_core.admission.client import Admission
from events_core.coordination import Coordination
from tests.support import processes
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: Seconds between two looks into Redis, which count as its work.
LOOK = 0.25


class Fleet:
    """Some workers of `benchmarks.apps.limited`, alike. To be used in a `with` statement, which ends them."""

    def __init__(self, broker: Broker, pool: Pool, workers: int = 1) -> None:
        self.pool = pool
        self._broker = broker
        self._number = workers
        self._folder = Path(tempfile.mkdtemp(prefix="events-bench-"))
        self._marks = Marks(self._folder / "marks")
        self._workers: list[Process] = []
        self._gates = itertools.count()
        self.looks = 0
        self.system = limited.bind(EventSystem(limited.SYSTEM, broker_url=broker.url, redis_url=broker.redis_url))
        self.redis = redis.Redis.from_url(broker.redis_url, decode_responses=True)
        self.admission = Admission(Coordination(self.redis, f"{limited.SYSTEM}:"), lambda grants: None)

    def __enter__(self) -> Fleet:
        env = {**self._broker.env, VARIABLE: str(self._marks.path)}
        command = ["-m", "events_worker.cli", "worker", "-A", "benchmarks.apps.limited_worker"]
        for number in range(self._number):
            node = ["-n", f"w{number}@bench"]
            self._workers.append(processes.start_python(*command, *self.pool.celery_options, *node, env=env))
        try:
            self.wait(self._number, START)  # each marks that it is ready
            self.run([limited.Free() for _ in range(20 * self.pool.slots * self._number)])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill9()
        self.system.close()
        self.redis.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def count(self) -> int:
        """How many marks there are."""
        return self._marks.count

    def new_gate(self) -> Path:
        """A file that is not there yet."""
        return self._folder / f"gate-{next(self._gates)}"

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Within the block every slot of the only worker is occupied, and what is emitted waits."""
        gate = self.new_gate()
        self.system.emit_many([limited.Gate(gate=str(gate)) for _ in range(self.pool.slots)])
        yield
        gate.touch()

    def run(self, events: Sequence[Event], *, each: int = 1) -> Pairs:
        """Emit events, and return the marks that they left, `each` of them so many."""
        first = self.count
        self.system.emit_many(events)
        return self.collect(first, len(events) * each)

    def collect(self, first: int, number: int, timeout: float = WORK) -> Pairs:
        """The marks from number `first` on, when there are `number` of them."""
        self.wait(first + number, timeout)
        return self._marks.since(first)

    def wait(self, number: int, timeout: float = WORK) -> None:
        """Return when there are so many marks in all."""

        def done() -> bool:
            for worker in self._workers:
                if not worker.alive:
                    raise RuntimeError(f"{worker.name} ended ({worker.exit_code}):\n{worker.log[-3000:]}")
            return self.count >= number

        wait_until(done, timeout, f"{number} marks; the first worker said: {self._workers[0].log[-1000:]}")

    def wait_for_parked(self, number: int) -> None:
        """Return when so many deliveries are parked. Counts the looks that this takes."""
        deadline = time.monotonic() + WORK
        while self._parked() != number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._parked()} deliveries are parked, not {number}")
            time.sleep(LOOK)

    def wait_for_most_parked(self) -> float:
        """Return when parked deliveries get no more, with the seconds until the last one was parked."""
        begin = last = time.monotonic()
        most = 0
        while not most or time.monotonic() - last < LOOK:
            if (now := self._parked()) > most:
                most, last = now, time.monotonic()
            time.sleep(LOOK / 25)
        return last - begin

    def _parked(self) -> int:
        self.looks += 1
        return int(self.redis.hlen(f"{limited.SYSTEM}:parked:messages"))

    def override(self, limit: str, places: int) -> None:
        """Set a limit at run time."""
        self.admission.call(["override", f"limit:{limit}", str(places)])

    def commands(self, seconds: float) -> tuple[float, float]:
        """Commands that Redis carries out in a second, those of scripts included: all, and those about who waits."""
        every = waiting = 0
        with self.redis.monitor() as monitor:
            end = time.monotonic() + seconds
            while time.monotonic() < end:  # there is always some: workers wait for messages for a second at most
                command = str(monitor.next_command()["command"])
                every += 1
                waiting += "gate:waiting:" in command or "parked:info" in command
        return every / seconds, waiting / seconds

    def trips(self) -> tuple[int, int]:
        """Round trips to Redis so far: those of admission, and all but our looks."""
        calls = self.redis.info("commandstats").get("cmdstat_fcall")
        if calls is None:  # admission runs as a script then, as others do
            raise RuntimeError("the round trips of admission are told by FCALL: this takes a Redis 7 or newer")
        return int(calls["calls"]), int(self.redis.info("stats")["total_reads_processed"]) - self.looks
