"""What becomes of the messages of one queue: acknowledged, given back, or put into the dead queue first."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Sequence

from events_core.brokers import MessageBroker, Received, Receiver
from events_core.bus.dead import Dead, DeadQueue
from events_core.bus.running import Work
from events_core.bus.statistics import Statistics
from events_core.receiving import Refused

logger = logging.getLogger(__name__)

#: Messages that are put into the dead queue at once, and their bytes, but for one that is larger by itself.
_CHUNK, _CHUNK_BYTES = 1000, 8_000_000
#: Seconds for it, and between two attempts.
_TO_BURY, _PAUSE = 5.0, 5.0


class Settling:
    """Used by the receiving thread; the event loop only appends to `outcomes`.

    lasting: whether the queue is, and so has a dead queue. outcomes: works that are over. unsettled: how many of those
    that were handed over have not been seen here.
    """

    def __init__(self, broker: MessageBroker, queue: str, lasting: bool, statistics: Statistics) -> None:
        self.outcomes: deque[Work] = deque()
        self.unsettled = 0
        self._queue = queue
        self._dead_queue = DeadQueue(broker, queue) if lasting else None
        self._statistics = statistics
        self._dead: list[Dead] = []
        self._bury_at = 0.0

    def declare(self) -> None:
        """Make the dead queue exist. Raises OSError, ConfigurationError."""
        if self._dead_queue is not None:
            self._dead_queue.declare()

    def refuse(self, refused: Sequence[tuple[Received, Refused]]) -> None:
        """These are no events for us."""
        if not refused:
            return
        reasons = Counter[str](why.reason for _, why in refused)
        self._statistics.refused.update(reasons)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        logger.error("%s: messages are refused (%s); the first: %s", self._queue, counts, refused[0][1].error)
        self._dead += [Dead(received, why.reason, why.error) for received, why in refused]

    def settle(self, receiver: Receiver, epoch: int) -> None:
        """Acknowledge what is handled, give back what was not begun, and bury what is dead.

        epoch: that of the receiver's connection. Raises OSError.
        """
        handled: list[Received] = []
        back: list[Received] = []
        while self.outcomes:
            work = self.outcomes.popleft()
            self.unsettled -= 1
            if work.handled:
                self._statistics.handled += 1
                if work.receiver is receiver:  # which knows its own of an earlier connection
                    handled.append(work.received)
            elif work.epoch != epoch:
                self._statistics.given_back += 1  # by the broker itself, when the connection broke
            elif work.failures:
                self._fail(work)
            else:
                back.append(work.received)
        if handled:
            receiver.acknowledge(handled)
        if back:
            self._statistics.given_back += len(back)
            receiver.give_back(back)
        while self._dead and time.monotonic() >= self._bury_at:
            self._bury(receiver)

    def forget(self) -> None:
        """What was to be buried comes again."""
        self._dead.clear()

    def _fail(self, work: Work) -> None:
        self._statistics.failed += 1
        event, failures = work.event, work.failures
        told = "; ".join(map(str, failures))
        logger.error("%s: %s %s is dead: %s", self._queue, event.event_type, event.event_id, told)
        error = "; ".join(f"{failure.handler}: {type(failure.error).__name__}" for failure in failures)
        self._dead.append(Dead(work.received, failures[0].reason, error))

    def _bury(self, receiver: Receiver) -> None:
        """Only what the dead queue has confirmed is acknowledged. An instance's own queue has none."""
        buried = self._chunk()
        if self._dead_queue is not None:
            number = len(buried)
            buried, error = self._dead_queue.add(buried, _TO_BURY)
            if error is not None:
                self._bury_at = time.monotonic() + _PAUSE
                left, name = number - len(buried), self._dead_queue.name
                logger.error("%d messages cannot be put into %s, again in %g s: %s", left, name, _PAUSE, error)
        if buried:
            receiver.acknowledge([one.received for one in buried])
            done = {id(one) for one in buried}
            self._dead = [one for one in self._dead if id(one) not in done]

    def _chunk(self) -> list[Dead]:
        size = 0
        for count, one in enumerate(self._dead[:_CHUNK]):
            size += len(one.received.body)
            if count and size > _CHUNK_BYTES:
                return self._dead[:count]
        return self._dead[:_CHUNK]
