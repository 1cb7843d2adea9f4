"""Delayed deliveries, in memory, by the test's clock."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from events_core.publishing.messages import Message
from events_core.publishing.stored import StoredMessage
from events_core.testing.results import Clock
from events_worker.inline.ledger import InlineLedger
from events_worker.schedule import Schedule


@dataclass(order=True)
class Waiting:
    """A delivery that is due at a time of the clock."""

    due: float
    number: int
    message: StoredMessage = field(compare=False)


class InlineSchedule(Schedule):
    """As `Schedule`, with what is due handed out at once."""

    def __init__(self, ledger: InlineLedger, clock: Clock) -> None:
        self._inline_ledger = ledger
        self._clock = clock
        self._numbers = itertools.count()
        self._heap: list[Waiting] = []

    def settle(self, task_id: str, run: int, seconds: float, message: StoredMessage) -> bool:
        """See `Schedule.settle`."""
        fresh = self._inline_ledger.settle_as("retry", task_id, run)
        if fresh:
            self._add(seconds, message)
        return fresh

    def copy(self, task_id: str, run: int, seconds: float, message: StoredMessage, name: str = "") -> None:
        """See `Schedule.copy`."""
        self._add(seconds, message)

    def _add(self, seconds: float, message: StoredMessage) -> None:
        # what Redis would keep is its JSON
        stored = StoredMessage.from_json(message.to_json())
        heapq.heappush(self._heap, Waiting(self._clock.now + seconds, next(self._numbers), stored))

    @property
    def waiting(self) -> list[Waiting]:
        """What waits, in the order in which it is due."""
        return sorted(self._heap)

    def take_due(self) -> list[Message]:
        """What is due now; it waits no more."""
        due = []
        while self._heap and self._heap[0].due <= self._clock.now:
            due.append(heapq.heappop(self._heap).message.message())
        return due

    def count(self) -> int:
        """See `Schedule.count`."""
        return len(self._heap)

    def clear(self) -> None:
        """Forget them."""
        self._heap.clear()
