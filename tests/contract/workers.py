"""The application of app.py on a broker: its workers, its tasks, and the account of what ran."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from tests.contract.brokers import Broker
from tests.support.processes import READY, Process, start_python
from tests.support.waiting import wait_until

_numbers = itertools.count(1)


@dataclass
class Station:
    """A broker, a folder for the account, and as many workers as a test starts."""

    broker: Broker
    folder: Path
    conf: dict[str, Any] = field(default_factory=dict)
    """Further settings of the application."""
    url: str = ""
    """What the workers connect to, where that is not the broker itself but something before it."""
    workers: list[Process] = field(default_factory=list)

    @property
    def queue(self) -> str:
        return self.broker.name

    def __post_init__(self) -> None:
        self.client = Celery("client", broker=self.broker.url, set_as_current=False)
        self.client.conf.update(self._conf)
        self.client.conf.update(task_default_queue=self.queue, task_ignore_result=True)
        # kombu keeps one pool for all that connects to one address in one way; this one is closed with the station
        self.client.conf.broker_transport_options = {**self._conf["broker_transport_options"], "station": self.queue}

    @property
    def _conf(self) -> dict[str, Any]:
        options = {**self.broker.options, **self.conf.get("broker_transport_options", {})}
        return {**self.conf, "broker_transport_options": options}

    def start(
        self,
        *,
        pool: str = "threads",
        concurrency: int = 2,
        prefetch: int = 4,
        extra: tuple[str, ...] = (),
        ready: bool = True,
    ) -> Process:
        """Starts a worker, by default one that waits until it is ready.

        Args:
            pool: Celery's pool.
            concurrency: tasks that run at once.
            prefetch: messages that it holds for each of these.
            extra: more arguments of the command line.
            ready: False: do not wait.
        """
        number = next(_numbers)
        name = f"w{number}-{os.getpid()}"
        env = {
            "CONTRACT_BROKER": self.url or self.broker.url,
            "CONTRACT_FOLDER": str(self.folder),
            "CONTRACT_QUEUE": self.queue,
            "CONTRACT_WORKER": name,
            "CONTRACT_CONF": json.dumps(self._conf),
        }
        arguments = ["-m", "celery", "-A", "tests.contract.app", "worker", "-P", pool, "-c", str(concurrency)]
        arguments += ["-n", f"{name}@test", "-l", "INFO", "--prefetch-multiplier", str(prefetch)]
        # gossip and mingle take a second at the start, and nothing that a task goes through differs
        arguments += ["--without-gossip", "--without-mingle", *extra]
        worker = start_python(*arguments, env=env, name=f"worker {name} ({pool})")
        self.workers.append(worker)
        if ready:
            worker.wait_for_log(READY, 60)
        return worker

    def name_of(self, worker: Process) -> str:
        """What it calls itself in the account."""
        return worker.name.split()[1]

    def send(self, task: str, *numbers: int, **options: Any) -> list[str]:
        """Sends the task once for each number; their ids."""
        return [str(self.client.send_task(f"contract.{task}", args=[number], **options).id) for number in numbers]

    def account(self) -> list[tuple[str, int, str]]:
        """What ran, in order: what was noted, of which number, by which worker."""
        path = self.folder / "account"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(what, int(number), worker) for what, number, worker in map(str.split, lines)]

    def noted(self, what: str) -> Counter[int]:
        """How often that was noted, by number."""
        return Counter(number for noted, number, _ in self.account() if noted == what)

    def wait_for(self, what: str, *numbers: int, timeout: float = 30.0) -> None:
        """Waits until that was noted of all the numbers."""

        def all_noted() -> bool:
            missing = set(numbers) - set(self.noted(what))
            assert not missing, f"no {what} of {sorted(missing)}; the worker says:\n{self.workers[-1].log[-3000:]}"
            return True

        wait_until(all_noted, timeout, f"{what} of {numbers}")

    def open(self, gate: str = "open") -> None:
        """Lets the tasks that wait for the gate end."""
        (self.folder / gate).touch()

    def each_ran_once(self, *numbers: int) -> None:
        """Every one of them has started and ended once, and nothing else has."""
        assert self.noted("start") == Counter(numbers)
        assert self.noted("end") == Counter(numbers)

    def wait_until_idle(self) -> None:
        """Waits until the queue is empty and no worker holds anything of it."""
        wait_until(lambda: self.held() == 0, 30, "every message to be acknowledged")

    def held(self) -> int:
        """Messages that wait or are with a worker, on the Redis kinds; elsewhere only those that wait."""
        if self.broker.kind == "rabbitmq":
            return self.broker.ready(self.broker.queue())
        with self.broker.client() as client:
            if self.broker.kind == "streams":
                return sum(int(client.xlen(key)) for key in client.keys("stream:*"))
            return int(client.llen(self.queue)) + int(client.hlen("unacked"))

    def inspect(self, method: str, timeout: float = 5.0) -> Any:
        """What the only worker answers to `celery inspect METHOD`; None if nobody does."""
        inspector = self.client.control.inspect(timeout=timeout, limit=1)
        answers = getattr(inspector, method)()
        return next(iter(answers.values())) if answers else None

    def close(self) -> None:
        self.client.close()
