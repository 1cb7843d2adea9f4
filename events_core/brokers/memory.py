"""A message broker without a server, for tests: topics, queues and consumers in one process.

It passes `events_core.testing.broker_contract`, as the brokers on servers do.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from events_core.brokers.base import (
    Format,
    FormatName,
    IntegrationMessage,
    MessageBroker,
    Promises,
    Received,
    Subscription,
)
from events_core.brokers.matching import wanted
from events_core.brokers.unheard import Unheard
from events_core.events import Event
from events_core.forking import call_in_child


@dataclass
class _Queue:
    bindings: frozenset[tuple[str, str]]
    waiting: list[tuple[int, Received]] = field(default_factory=list)  # a heap, by the time of publishing


class InMemoryBroker(MessageBroker):
    """Carries integration events from one part of a process to another, and remembers them. Thread-safe.

    published: every message that was published, in order; a test may empty it.
    A forked child has a copy of everything, and shares nothing.
    """

    promises = Promises("at least once", durable=False, ordered=True, shared=True, routed=True, tells_unroutable=True)

    def __init__(self, format: FormatName | Format = "cloudevents") -> None:
        super().__init__(format)
        self.published: list[IntegrationMessage] = []
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count()
        self._unheard = Unheard("it is dropped")
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()

    @property
    def events(self) -> list[Event]:
        """What was published, as events again. Their classes must be loaded."""
        return [message.envelope.event() for message in self.published]

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue and are with no consumer."""
        with self._changed:
            return len(self._queues[queue].waiting) if queue in self._queues else 0

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        """See `MessageBroker.publish`. Cannot fail."""
        for message in messages:
            self.published.append(message)
            self.put(
                message.topic,
                message.body,
                message.routing_key,
                content_type=message.content_type,
                message_id=message.envelope.id,
                type=message.envelope.type,
                timestamp=message.occurred_at.timestamp(),
                headers=message.headers,
            )

    def put(self, topic: str, body: bytes, routing_key: str, **properties: Any) -> None:
        """What anyone else may publish: bytes. properties: further ones of `Received`."""
        message = Received(body, topic=topic, routing_key=routing_key, **properties)
        with self._changed:
            bound = [queue for queue in self._queues.values() if wanted(queue.bindings, topic, routing_key)]
            for queue in bound:
                heapq.heappush(queue.waiting, (next(self._numbers), message))
            self._changed.notify_all()
            (self._unheard.heard if bound else self._unheard.unheard)([(topic, routing_key)])

    def close(self) -> None:
        """Nothing is open. Queues and what waits in them stay."""

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """See `MessageBroker.declare`."""
        with self._changed:
            queue = self._queues.setdefault(subscription.queue, _Queue(subscription.bindings))
            queue.bindings = subscription.bindings

    def delete(self, subscription: Subscription) -> None:
        """See `MessageBroker.delete`."""
        with self._changed:
            self._queues.pop(subscription.queue, None)

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> InMemoryReceiver:
        """See `MessageBroker.receiver`."""
        return InMemoryReceiver(self, subscription, prefetch)

    def _take(self, queue: str, count: int) -> list[tuple[int, Received]]:
        waiting = self._queues[queue].waiting if queue in self._queues else []
        return [heapq.heappop(waiting) for _ in range(min(count, len(waiting)))]

    def _put_back(self, queue: str, messages: Mapping[int, Received]) -> None:
        if queue not in self._queues:
            return  # it was deleted, and they with it
        for number, message in messages.items():
            heapq.heappush(self._queues[queue].waiting, (number, replace(message, redelivered=True, tag=None)))
        self._changed.notify_all()


class InMemoryReceiver:
    """See `Receiver`. Made by `InMemoryBroker.receiver`."""

    def __init__(self, broker: InMemoryBroker, subscription: Subscription, prefetch: int) -> None:
        self._broker = broker
        self._subscription = subscription
        self._prefetch = prefetch
        self._held: dict[int, Received] = {}
        self._declared = self._woken = False

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`."""
        if not self._declared:
            self._broker.declare(self._subscription)
            self._declared = True
        end = time.monotonic() + timeout
        with self._broker._changed:
            while not (taken := self._take()) and not self._woken:
                left = end - time.monotonic()
                if left <= 0 or not self._broker._changed.wait(left):
                    break
            self._woken = False
        return taken

    def _take(self) -> list[Received]:
        taken = self._broker._take(self._subscription.queue, self._prefetch - len(self._held))
        messages = [replace(message, tag=number) for number, message in taken]
        self._held.update({message.tag: message for message in messages})
        return messages

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """See `Receiver.acknowledge`."""
        with self._broker._changed:
            for message in messages:
                self._held.pop(message.tag, None)
            self._broker._changed.notify_all()

    def give_back(self, messages: Sequence[Received]) -> None:
        """See `Receiver.give_back`."""
        with self._broker._changed:
            held = {message.tag: self._held.pop(message.tag) for message in messages if message.tag in self._held}
            self._broker._put_back(self._subscription.queue, held)

    def wake(self) -> None:
        """See `Receiver.wake`."""
        with self._broker._changed:
            self._woken = True
            self._broker._changed.notify_all()

    def close(self) -> None:
        """See `Receiver.close`."""
        self.give_back([*self._held.values()])
        self._declared = False
        if not self._subscription.lasting:
            self._broker.delete(self._subscription)
