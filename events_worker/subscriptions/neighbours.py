"""The other workers on a queue: during a deploy some know subscribers that others do not.

What one of them has bound is not unbound by another; and whoever takes a message makes the deliveries of all of them.
One to a subscriber that a worker does not know is held until a worker comes that does.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from events_core import EventSystem
from events_core.coordination import Coordination
from events_core.subscribers import SubscribedQueue
from events_worker.subscriptions.keys import neighbours_key

#: Seconds between two times that a worker says what it asks for, and hears what others do.
_EVERY = 5.0
#: Seconds for which what was heard is good enough to leave a message out.
_FRESH = 1.0
#: Seconds after which one that did not say so has died.
_FORGET_AFTER = 20.0


class Asked(NamedTuple):
    """A handler's wish for one type of events. queue: of its deliveries. version: the newest that it knows."""

    topic: str
    routing_key: str
    handler: str
    queue: str
    version: int


def asked_for(system: EventSystem, queue: SubscribedQueue) -> list[Asked]:
    """What the subscribers of a queue ask for."""
    return sorted(
        Asked(topic, f"{event.kind}.{event.event_type}", subscriber.spec.name, task_queue, event.version)
        for subscriber in queue.subscribers
        for task_queue in [system.messages.queue_of(subscriber.spec)]
        for event, topic in subscriber.topics.items()
    )


class Neighbours:
    """Those of one worker on one queue. Used by one thread; raises redis.RedisError."""

    def __init__(self, coordination: Coordination, queue: str, mine: Iterable[Asked]) -> None:
        self._client = coordination.client
        self._key = neighbours_key(coordination, queue)
        self._me = f"{socket.gethostname()}:{os.getpid()}"
        self._mine = list(mine)
        self._handlers = {asked.handler for asked in self._mine}
        self._heard_at = float("-inf")
        self._strangers: dict[tuple[str, str], dict[str, Asked]] = {}
        #: The topics and routing keys that others ask for, as far as was heard.
        self.bindings: frozenset[tuple[str, str]] = frozenset()

    def strangers(self, topic: str, routing_key: str) -> Iterable[Asked]:
        """The handlers that ask for it and are not known here."""
        return self._strangers.get((topic, routing_key), {}).values()

    def refresh(self, *, fresh: bool = False) -> None:
        """Say what this worker asks for, and hear what others do, if that is due. fresh: by now."""
        if time.monotonic() - self._heard_at < (_FRESH if fresh else _EVERY):
            return
        seconds, microseconds = self._client.time()
        now = float(seconds) + float(microseconds) / 1e6
        self._client.hset(self._key, self._me, json.dumps({"at": now, "asked": self._mine}))
        said: dict[str, str] = self._client.hgetall(self._key)  # type: ignore[assignment]
        self._hear({worker: json.loads(text) for worker, text in said.items() if worker != self._me}, now)
        self._heard_at = time.monotonic()

    def leave(self) -> None:
        """This worker asks for nothing more."""
        self._client.hdel(self._key, self._me)

    def _hear(self, said: dict[str, Any], now: float) -> None:
        gone = [worker for worker, one in said.items() if now - one["at"] > _FORGET_AFTER]
        if gone:
            self._client.hdel(self._key, *gone)
        asked = [Asked(*wish) for worker, one in said.items() if worker not in gone for wish in one["asked"]]
        self.bindings = frozenset((wish.topic, wish.routing_key) for wish in asked)
        self._strangers = {}
        for wish in asked:
            if wish.handler not in self._handlers:
                self._strangers.setdefault((wish.topic, wish.routing_key), {})[wish.handler] = wish
