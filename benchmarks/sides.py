"""The sides of a comparison: how each publishes work, and which command runs its worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from benchmarks.apps import ours, plain, rival, subscribing
from benchmarks.stage import Broker
from events_core import EventSystem


@dataclass(frozen=True)
class Pool:
    """A worker's pool. slots: tasks at once; prefetch: messages that it holds besides, for each slot."""

    kind: str
    slots: int
    prefetch: int

    def __str__(self) -> str:
        return f"{self.kind} {self.slots}" if self.slots > 1 else self.kind

    @property
    def celery_options(self) -> list[str]:
        """Of `celery worker`, and so of `events worker`: the same for both."""
        numbers = ["-c", str(self.slots), "--prefetch-multiplier", str(self.prefetch)]
        return ["-l", "WARNING", "-P", self.kind, *numbers, "--without-gossip", "--without-mingle"]


class Side(Protocol):
    """One side. env: variables for its worker."""

    name: str
    env: dict[str, str]

    def command(self, pool: Pool) -> list[str]:
        """Arguments of Python that run its worker."""
        ...

    def send(self, kind: str, number: int, **fields: Any) -> None:
        """Publish work, as fast as it can easily be done."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Timed(Side, Protocol):
    """A side whose latency is measured."""

    def send_timed(self) -> None:
        """Publish one piece of work that carries the moment."""
        ...


def content_of(kind: str, **fields: Any) -> Any:
    """What the others' tasks are given: our envelope, but a number where the task itself is to cost nothing."""
    return 1 if kind == "tick" else ours.envelope_of(kind, **fields)


class Ours:
    """celery-events."""

    name = "ours"

    def __init__(self, broker: Broker, name: str = "bench") -> None:
        self.env = broker.env
        self.system = ours.bind(EventSystem(name, broker_url=broker.url, redis_url=broker.redis_url))

    def command(self, pool: Pool) -> list[str]:
        return ["-m", "events_worker.cli", "worker", "-A", "benchmarks.apps.ours_worker", *pool.celery_options]

    def send(self, kind: str, number: int, **fields: Any) -> None:
        event = ours.EVENTS[kind]
        self.system.emit_many([event(order_id=uuid4(), **fields) for _ in range(number)])

    def send_timed(self) -> None:
        """Emit one event that carries the moment."""
        self.system.emit(ours.Timed(order_id=uuid4(), sent_ns=time.monotonic_ns()))

    def close(self) -> None:
        self.system.close()


class Subscribed(Ours):
    """celery-events, with what is timed as another service's event."""

    def __init__(self, broker: Broker) -> None:
        self.env = broker.env
        self.system = subscribing.make(broker.url, broker.redis_url)

    def command(self, pool: Pool) -> list[str]:
        return ["-m", "events_worker.cli", "worker", "-A", "benchmarks.apps.subscribing_worker", *pool.celery_options]

    def send_timed(self) -> None:
        """Emit one integration event that carries the moment."""
        self.system.emit(subscribing.Told(order_id=str(uuid4()), sent_ns=time.monotonic_ns()))


class Plain:
    """Celery by itself. name: tells two of them apart."""

    def __init__(self, broker: Broker, *, confirmed: bool = True, name: str = "Celery") -> None:
        self.name = name
        self.env = broker.env
        self.app = plain.make(broker.url, confirmed=confirmed)
        self._timed = ours.envelope_of("timed")

    def command(self, pool: Pool) -> list[str]:
        return ["-m", "celery", "-A", "benchmarks.apps.plain_worker", "worker", *pool.celery_options]

    def send(self, kind: str, number: int, **fields: Any) -> None:
        content, task = content_of(kind, **fields), self.app.tasks[f"plain.{kind}"]
        with self.app.producer_pool.acquire() as producer, producer.batch():
            for _ in range(number):
                task.apply_async((content,), producer=producer)

    def send_timed(self) -> None:
        """Send one task that carries the moment."""
        self._timed["data"]["sent_ns"] = time.monotonic_ns()
        self.app.tasks["plain.timed"].delay(self._timed)

    def close(self) -> None:
        self.app.close()


class Rival:
    """dramatiq."""

    name = "dramatiq"

    def __init__(self, broker: Broker, *, confirmed: bool = True) -> None:
        self.env = broker.env
        self.broker, self.actors = rival.make(broker.url, confirmed=confirmed)

    def command(self, pool: Pool) -> list[str]:
        numbers = ["--processes", "1", "--threads", str(pool.slots)]
        return ["-m", "dramatiq", "benchmarks.apps.rival_worker:broker", *numbers]

    def send(self, kind: str, number: int, **fields: Any) -> None:
        content, actor = content_of(kind, **fields), self.actors[kind]
        for _ in range(number):
            actor.send(content)

    def close(self) -> None:
        self.broker.close()
