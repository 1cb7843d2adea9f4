"""Deliveries for crowded gates are parked many at a time, before they take a slot of the pool.

A burst of them must not hold up what lies behind it in their queue. To read one costs a third of what it costs to park
it, so they are read on beyond the prefetch window and parked some at a time, with rests in which the others run.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from events_core.admission.turns import GRANT_HEADER
from events_core.forking import call_in_child
from events_worker.run import Run

logger = logging.getLogger(__name__)

#: So many are parked in one step at the most: a few milliseconds' work. Fewer would disturb others for a shorter time
#: each, but cost so much more that they disturb more of them.
_MANY = 64
#: Rests are so many times as long as the step before them, and at most so many seconds.
_REST, _LONGEST_REST = 3, 0.020
#: Bytes that may be read on beyond the prefetch window, and what a message counts at least. From half of them on
#: there are no rests: a long backlog is worked off as fast as it can be.
_AHEAD, _LEAST = 2 * 1024 * 1024, 4096


class Gatekeeper(Protocol):
    """What is needed of the gatekeeper."""

    def is_crowded(self, handler: str) -> bool: ...

    def park_blocked(self, runs: Sequence[Run]) -> list[bool]: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery that has just come. size: bytes of its message.

    set_aside: frees its place in the prefetch window, if it can; whether it did. parked: acknowledges it. go_on: lets
    the pool run it, in the place that it had. Any thread may call them.
    """

    run: Run
    size: int
    set_aside: Callable[[], bool]
    parked: Callable[[], None]
    go_on: Callable[[], None]


class Parking:
    """One thread for each process that does it. In a burst one delivery costs a third of what it costs in the pool."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._reads_on = False  # because the last one that came was set aside
        self._thread: threading.Thread | None = None
        self._came = self._went = 0  # bytes; each is added to by one thread

    def wants(self, handler: str, headers: dict[str, object]) -> bool:
        """Whether a delivery is rather parked than run: a new one, to a handler that was blocked a moment ago."""
        return self._gatekeeper.is_crowded(handler) and not (
            GRANT_HEADER in headers or "events-copy" in headers or headers.get("events-generation")
        )

    def put(self, arrival: Arrival) -> None:
        """Park it if it is blocked, soon."""
        self._came += max(arrival.size, _LEAST)
        self._reads_on = self._came - self._went <= _AHEAD and arrival.set_aside()
        self._arrivals.put(arrival)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events-parking", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            blocked, took = self._step(self._arrivals.get())
            # of those that are not, places are free, and others of them may be for whoever comes next
            if blocked and self._at_ease and not self._arrivals.empty():
                time.sleep(min(_REST * took, _LONGEST_REST))

    @property
    def _at_ease(self) -> bool:
        """Whether the worker reads on meanwhile, and not so much waits that it will soon have to stop."""
        return self._reads_on and self._came - self._went < _AHEAD / 2

    def _step(self, first: Arrival) -> tuple[bool, float]:
        """Whether all of them were blocked, and the seconds it took."""
        began = time.monotonic()
        others = [self._arrivals.get() for _ in range(min(self._arrivals.qsize(), _MANY - 1))]
        return self._park([first, *others]), time.monotonic() - began

    def _park(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether all of them were blocked."""
        try:
            parked = self._gatekeeper.park_blocked([arrival.run for arrival in arrivals])
        except Exception:  # the thread must not end; in the pool it will be seen for each what is wrong
            logger.exception("%d deliveries could not be parked", len(arrivals))
            parked = [False] * len(arrivals)
        logger.debug("%d of %d deliveries were parked before the pool had them", sum(parked), len(parked))
        for arrival, is_parked in zip(arrivals, parked, strict=True):
            self._went += max(arrival.size, _LEAST)
            try:
                (arrival.parked if is_parked else arrival.go_on)()
            except Exception:  # at the worst it stays unacknowledged, and comes back
                logger.exception("%s, %s", arrival.run.task_id, "which is parked" if is_parked else "which is to run")
        return all(parked)
