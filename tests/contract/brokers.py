"""A broker as the suite sees it: its address, and the few things that are done differently on each."""

from __future__ import annotations

import itertools
import math
import secrets
from dataclasses import dataclass, field
from typing import Any

import kombu
import redis

import events_core.transport  # noqa: F401  (registers redis-streams://)
from tests.support.redis_server import connect
from tests.support.waiting import wait_until

STEPS = (0, 3, 6, 9)
"""The priorities that kombu's Redis transport tells apart unless told otherwise."""

SCHEMES = {"stock": "redis://", "streams": "redis-streams://", "rabbitmq": "amqp://"}
# Confirmed, so that what was published is there for the next connection that looks.
OPTIONS: dict[str, dict[str, Any]] = {"stock": {}, "streams": {}, "rabbitmq": {"confirm_publish": True}}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Broker:
    """An empty broker of one kind."""

    kind: str
    url: str
    """For kombu and Celery, with the scheme of its transport."""
    redis_url: str = ""
    """For a plain Redis client; empty for RabbitMQ."""
    name: str = field(default_factory=lambda: f"c{next(_numbers)}x{secrets.token_hex(3)}")
    """What the names of this test's queues and exchanges begin with: a given RabbitMQ has one vhost for all."""

    @classmethod
    def on_redis(cls, kind: str, redis_url: str) -> Broker:
        return cls(kind, redis_url.replace("redis://", SCHEMES[kind], 1), redis_url)

    @property
    def options(self) -> dict[str, Any]:
        """The transport options that it is tried with."""
        return OPTIONS[self.kind]

    def connect(self, **options: Any) -> kombu.Connection:
        """A new connection of kombu's; options are added to its transport options."""
        return kombu.Connection(self.url, transport_options={**self.options, **options})

    def queue(self, suffix: str = "", **options: Any) -> kombu.Queue:
        """A durable queue; without an exchange among its options it is reached by its name alone."""
        return kombu.Queue(self.name + suffix, **options)

    def priority_queue(self) -> kombu.Queue:
        """A queue that knows the priorities 0 to 9."""
        return self.queue(max_priority=9 if self.kind == "rabbitmq" else None)

    def urgency(self, priority: int) -> int:
        """A key to sort priorities by, the most urgent first. 0 is that on Redis, 9 on RabbitMQ."""
        return -priority if self.kind == "rabbitmq" else max(step for step in STEPS if step <= priority)

    def client(self) -> redis.Redis:
        return connect(self.redis_url)

    def all_keys(self) -> set[str]:
        """Every key of its Redis."""
        with self.client() as client:
            return {key.decode(errors="replace") for key in client.scan_iter("*")}

    def inject(self, queue: str, raw: bytes) -> None:
        """Puts bytes into a queue as no kombu would."""
        if self.kind == "rabbitmq":
            with self.connect() as connection:
                channel = connection.default_channel
                message = channel.prepare_message(raw, content_type="application/json", content_encoding="utf-8")
                channel.basic_publish(message, exchange="", routing_key=queue)
            return
        with self.client() as client:
            if self.kind == "streams":
                client.xadd(f"stream:{queue}", {b"m": raw})
            else:
                client.lpush(queue, raw)

    def ready(self, queue: kombu.Queue) -> int:
        """How many messages wait there and are with no consumer; 0 where there is no such queue."""
        with self.connect() as connection:
            try:
                return int(queue.bind(connection.default_channel).queue_declare(passive=True).message_count)
            except connection.channel_errors as error:
                if "404" not in str(getattr(error, "reply_code", error)) and "NOT_FOUND" not in str(error):
                    raise
                return 0

    def wait_for_ready(self, queue: kombu.Queue, count: int) -> None:
        """Waits until so many wait there: RabbitMQ takes back what a closed connection held a little later."""
        wait_until(lambda: self.ready(queue) == count or _not_yet(self.ready(queue)), 15, f"{count} ready messages")

    def wait_for_subscribers(self, count: int) -> None:
        """Waits until so many connections are subscribed to something, where fanout is Pub/Sub."""
        if not self.redis_url:
            return
        with self.client() as client:

            def subscribed() -> bool:
                return sum(int(other["psub"]) > 0 for other in client.client_list()) >= count

            wait_until(subscribed, 15, f"{count} subscribers")


def _not_yet(count: int) -> bool:
    raise AssertionError(f"{count} are ready")


def send(connection: kombu.Connection, queue: kombu.Queue, *bodies: Any, **properties: Any) -> None:
    """Publishes each body to the queue, which is declared first."""
    producer = kombu.Producer(connection.default_channel, serializer="json")
    for body in bodies:
        producer.publish(body, exchange="", routing_key=queue.name, declare=[queue], **properties)


class Inbox:
    """A consumer on a channel of its own, and what it has received."""

    def __init__(
        self,
        connection: kombu.Connection,
        *queues: kombu.Queue,
        prefetch: int = 0,
        no_ack: bool = False,
        accept: tuple[str, ...] = ("json",),
    ) -> None:
        self.messages: list[kombu.Message] = []
        self._connection = connection
        self.channel = connection.channel()
        self.consumer = kombu.Consumer(
            self.channel, list(queues), no_ack=no_ack, accept=accept, on_message=self.messages.append
        )
        if prefetch:
            self.consumer.qos(prefetch_count=prefetch, apply_global=True)  # for the channel, as Celery does
        self.consumer.consume()

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.messages]

    def look(self, seconds: float = 0.05, enough: float = math.inf) -> None:
        """Reads until so many messages are there, or nothing came for so many seconds."""
        try:
            while len(self.messages) < enough:
                self._connection.drain_events(timeout=seconds)
        except TimeoutError:
            pass

    def wait(self, count: int, timeout: float = 15.0) -> list[Any]:
        """Reads until it has so many messages, and returns what all that it has say."""

        def enough() -> bool:
            self.look(0.5, count)
            assert len(self.messages) >= count, f"{len(self.messages)}: {self.messages[-3:]}"
            return True

        wait_until(enough, timeout, f"{count} messages")
        return self.payloads

    def ack_all(self) -> None:
        """Acknowledges what it has, and forgets it."""
        for message in self.messages:
            message.ack()
        self.messages.clear()
