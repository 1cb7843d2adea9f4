"""A system under test: its servers, its workers, a sender in the test's process, and what its handlers recorded."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import kombu
import redis

from events_core import Event, EventSystem
from events_core.celery_app import celery_broker_url
from events_core.envelope import Envelope
from events_core.handler_options import GRANTED
from events_core.handlers import HandlerSpec
from events_core.publishing.messages import Message
from events_worker.dead_letters import DeadLetter, DeadLetters
from events_worker.parts import Parts, parts_of
from tests.apps import recording
from tests.support import broker_queues, processes
from tests.support.commands import run_python
from tests.support.waiting import wait_until

_numbers = itertools.count(1)


@dataclass
class Rig:
    """One application `module` on a broker, with a name of its own.

    broker_url, redis_url: Celery's broker and the coordination Redis. record_url: where handlers record.
    settings: further EVENTS_* settings, lower case, for workers and the sender alike.
    """

    module: ModuleType
    broker_url: str
    redis_url: str
    record_url: str
    settings: dict[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"t{next(_numbers)}x{secrets.token_hex(3)}")
    env: dict[str, str | None] = field(default_factory=dict)
    rabbitmq: Any = None  # the server, where one is the broker
    _workers: list[processes.Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.system = EventSystem(self.name, broker_url=self.broker_url, redis_url=self.redis_url, **self.settings)
        for event, spec in self.module.events.event_map.bindings:
            self.system.bind(event, spec.target, **_options(spec))
        self.emit = self.system.emit
        self.emit_many = self.system.emit_many
        self.records_in = redis.Redis.from_url(self.record_url, decode_responses=True)

    @property
    def parts(self) -> Parts:
        return parts_of(self.system)

    @property
    def dead(self) -> DeadLetters:
        return self.parts.dead_letters

    @property
    def queue(self) -> str:
        return self.system.settings.default_queue

    def messages_of(self, event: Event) -> list[Message]:
        """The messages that emit would send, to be changed before they are."""
        envelope = Envelope.of(event)
        specs = self.system.event_map.route(type(event))
        return self.system.messages.messages(specs, event, envelope, envelope.to_json(), None)

    def environment(self) -> dict[str, str | None]:
        settings = {f"EVENTS_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {
            "EVENTS_BROKER_URL": self.broker_url,
            "EVENTS_REDIS_URL": self.redis_url,
            "EVENTS_APP": f"{self.module.__name__}:events",
            "TEST_SYSTEM": self.name,
            recording.URL: self.record_url,
            recording.KEY: self.name,
            **settings,
            **self.env,
        }

    def worker(self, pool: str = "threads", concurrency: int = 4, **options: Any) -> processes.Process:
        """Starts a worker of the application; options as `processes.start_worker`."""
        env = {**self.environment(), **options.pop("env", {})}
        worker = processes.start_worker(
            f"{self.module.__name__}:events", pool=pool, concurrency=concurrency, env=env, **options
        )
        self._workers.append(worker)
        return worker

    def events(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs `events ...` for the application and waits for its end."""
        app = ("-A", f"{self.module.__name__}:events")
        return self._run("events_worker.cli", *args, *app)

    def control(self, *args: str) -> str:
        """Runs `celery ...` on the application's Celery app, as an operator does, and returns what it printed; again
        where nobody answered, for which it waits a second.
        """

        def answered() -> str:
            ran = self._run("celery", "-A", "events_worker", *args)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            return ran.stdout

        return wait_until(answered, what=f"an answer to {args}")

    def _run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return run_python("-m", *args, env=processes.child_env(self.environment()), cwd=processes.ROOT)

    def records(self, tag: str, what: str | None = None) -> list[dict[str, Any]]:
        """What handlers recorded under that tag, in order."""
        lines = [json.loads(line) for line in self.records_in.lrange(f"{self.name}:{tag}", 0, -1)]
        return [line for line in lines if what in (None, line["what"])]

    def wait_for_records(self, tag: str, number: int, what: str | None = None, timeout: float = 30.0) -> list[Any]:
        """Waits until there are at least so many records."""
        return wait_until(
            lambda: found if len(found := self.records(tag, what)) >= number else [],
            timeout,
            f"{number} records of {what or 'anything'} under {tag}; there are {self.records(tag)!r:.800}",
        )

    def open_gate(self, tag: str, name: str = "gate") -> None:
        """Lets handlers go on that wait in `recording.wait_for_gate`."""
        self.records_in.set(f"{self.name}:{tag}:{name}", 1)

    def letters(self, **selection: Any) -> list[DeadLetter]:
        return list(self.dead.find(**selection))

    def letter(self, timeout: float = 30.0, **selection: Any) -> DeadLetter:
        """Waits for the one dead letter that fits, and returns it."""
        found = wait_until(lambda: self.letters(**selection), timeout, f"a dead letter with {selection}")
        assert len(found) == 1, found
        return found[0]

    def letter_of(self, emission: Any, handler: str | None = None, **more: Any) -> DeadLetter:
        """Waits for the dead letter of an emission, by its event's id."""
        name = None if handler is None else f"{self.module.__name__}.{handler}"
        return self.letter(ids=(str(emission.event_id),), handler=name, **more)

    def scheduled(self) -> int:
        return self.parts.schedule.count()

    @property
    def broker_name(self) -> str:
        """The broker with its transport, as tests/support/broker_queues.py takes it."""
        return celery_broker_url(self.system.settings)

    def broker(self) -> Any:
        """A connection to the broker, as a context manager."""
        return broker_queues.connection(self.broker_name)

    def queue_length(self, name: str | None = None) -> int:
        """Messages that wait in a queue, without those that a worker holds."""
        return broker_queues.length(self.broker_name, name or self.queue)

    def unacknowledged(self) -> int:
        """Messages that a worker has taken and not acknowledged."""
        if broker_queues.is_redis(self.broker_name):
            return broker_queues.unacknowledged(self.broker_name)
        assert self.rabbitmq is not None, "a rig on RabbitMQ is made by rig(), which knows the server"
        return int(self.rabbitmq.unacknowledged(self.broker_url))

    def waiting(self) -> int:
        """Deliveries that wait at a gate."""
        client = self.parts.coordination.client
        return sum(client.zcard(key) for key in client.scan_iter(f"{self.name}:gate:waiting:*", 1000))

    def due_in(self) -> float:
        """Seconds until the first delivery of the schedule is due; infinite where it is empty."""
        client = self.parts.coordination.client
        seconds, microseconds = client.time()
        first = client.zrange(self.parts.schedule.keys[0], 0, 0, withscores=True)
        return first[0][1] / 1000 - (seconds + microseconds / 1e6) if first else math.inf

    def wait_for_rest(self) -> None:
        """Waits until nothing is in the queue, workers hold nothing, and nothing is about to be due: what is killed now
        repeats nothing.
        """
        queues = (self.queue, self.queue + GRANTED)

        def rests() -> bool:
            return self.due_in() > 0.5 and not any(map(self.queue_length, queues)) and self.unacknowledged() == 0

        wait_until(rests, what="no message to be left")

    def wait_for_empty_queue(self, name: str | None = None) -> None:
        """Waits until everything in the queue has been taken."""
        wait_until(lambda: self.queue_length(name) == 0, what=f"the queue {name or self.queue} to be empty")

    def put_raw(self, body: bytes, **properties: Any) -> None:
        """Puts a message on the queue past `emit`: on Redis the bytes as they are, on RabbitMQ with properties."""
        if broker_queues.is_redis(self.broker_name) and not properties:
            broker_queues.put_raw(self.broker_name, self.queue, body)
            return
        properties = {"content_type": "application/json", "content_encoding": "utf-8", **properties}
        with self.broker() as connection, connection.channel() as channel:
            producer = kombu.Producer(channel)
            producer.publish(body, routing_key=self.queue, exchange="", **properties)

    def kill_workers(self) -> None:
        """SIGKILL to every worker, with all its children."""
        for worker in self._workers:
            worker.kill9()

    def close(self) -> None:
        self.kill_workers()
        self.system.close()


def _options(spec: HandlerSpec) -> dict[str, Any]:
    """What the handler was bound with."""
    common = {"queue": spec.queue, "args": spec.args}
    if spec.kind == "task":
        return common
    return common | {
        "name": spec.name,
        "retry": spec.retry,
        "timeout": spec.timeout,
        "aliases": spec.aliases,
        "limit": spec.limits,
        "breaker": spec.breaker,
        "ordered_by": spec.ordered_by,
        "on_dead": spec.on_dead,
        "fallback": spec.fallback and spec.fallback.target,
        "fallback_on": spec.fallback_on,
    }


@contextlib.contextmanager
def rig(
    module: ModuleType, broker: str, redis_server: Any, rabbitmq_server: Any = None, **settings: Any
) -> Iterator[Rig]:
    """A rig on the run's servers, emptied before; broker: redis or rabbitmq."""
    redis_url = redis_server.empty()
    vhost = f"rig-{next(_numbers)}"
    broker_url = redis_url if broker == "redis" else rabbitmq_server.add_vhost(vhost)
    made = Rig(module, broker_url, redis_url, redis_url, settings, rabbitmq=rabbitmq_server)
    try:
        yield made
    finally:
        made.close()
        if broker != "redis":
            rabbitmq_server.drop_vhost(vhost)
