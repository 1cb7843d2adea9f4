"""What became of the messages of each queue, counted in the coordination Redis. For people: no promise rests on it."""

from __future__ import annotations

import logging
import time
from collections import Counter

import redis

from events_core.coordination import Coordination
from events_worker.subscriptions.keys import consumers_key, counts_key, name_of_this_process

logger = logging.getLogger(__name__)

#: What is counted. received: messages, of which skipped were of no type that was asked for; delivered: deliveries
#: made. Then what was refused, by reason. outdated, gaps: versions that `latest_only` left out, and missed.
COUNTED = (
    "received", "delivered", "skipped", "oversize", "undecodable", "invalid", "unknown_event", "outdated", "gaps",
)  # fmt: skip
#: Seconds between two times that counts are written down, and between two that a worker says it listens.
_WRITE_EVERY, _TELL_EVERY = 0.5, 10.0
#: Seconds after which a worker that did not say so is gone.
GONE_AFTER = 30.0


class Tally:
    """The counts of one queue, as this process adds to them. Used by one thread."""

    def __init__(self, coordination: Coordination, queue: str) -> None:
        self._client = coordination.client
        self._counts = counts_key(coordination, queue)
        self._consumers = consumers_key(coordination, queue)
        self._me = name_of_this_process()
        self._new: Counter[str] = Counter()
        self._write_at = self._tell_at = 0.0

    def add(self, what: str, number: int = 1) -> None:
        """Count; written down by `flush`."""
        self._new[what] += number

    def flush(self) -> float:
        """Write down what is due to be; seconds until something is again. Raises nothing."""
        now = time.monotonic()
        if now >= self._due:
            self._write_at = now + _WRITE_EVERY
            self._tell_at = now + (_TELL_EVERY if self._write() else _WRITE_EVERY)
        return self._due - now

    @property
    def _due(self) -> float:
        return self._write_at if self._new else self._tell_at

    def _write(self) -> bool:
        new, self._new = self._new, Counter()
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for what, number in new.items():
                    pipe.hincrby(self._counts, what, number)
                pipe.zadd(self._consumers, {self._me: time.time()})
                pipe.zremrangebyscore(self._consumers, "-inf", time.time() - GONE_AFTER)
                pipe.execute()
        except redis.RedisError as error:
            self._new.update(new)
            logger.debug("counts of subscriptions wait: %s", error)
            return False
        return True

    def leave(self) -> None:
        """This worker listens no more. Raises nothing."""
        if self._new:
            self._write()
        try:
            self._client.zrem(self._consumers, self._me)
        except redis.RedisError:
            pass  # it is forgotten after a while


def counts_of(coordination: Coordination, queue: str) -> dict[str, int]:
    """What was counted of a queue."""
    found: dict[str, str] = coordination.client.hgetall(counts_key(coordination, queue))  # type: ignore[assignment]
    return {what: int(found.get(what, 0)) for what in COUNTED}


def consumers_of(coordination: Coordination, queue: str) -> list[str]:
    """The workers that listened just now, as host:pid:random."""
    key = consumers_key(coordination, queue)
    found: list[str] = coordination.client.zrangebyscore(key, time.time() - GONE_AFTER, "+inf")  # type: ignore[assignment]
    return sorted(found)
