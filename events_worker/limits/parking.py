"""Deliveries for crowded gates are parked many at a time, before they take a slot of the pool."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from events_core.admission.turns import GRANT_HEADER
from events_core.forking import call_in_child
from events_worker.run import Run

logger = logging.getLogger(__name__)

#: So many are parked in one step at the most.
_MANY = 100


class Gatekeeper(Protocol):
    """What is needed of the gatekeeper."""

    def is_crowded(self, handler: str) -> bool: ...

    def park_blocked(self, runs: Sequence[Run]) -> list[bool]: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery that has just come. parked: acknowledges it. go_on: lets the pool run it. Any thread may call them."""

    run: Run
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
        self._thread: threading.Thread | None = None

    def wants(self, handler: str, headers: dict[str, object]) -> bool:
        """Whether a delivery is rather parked than run: a new one, to a handler that was blocked a moment ago."""
        return self._gatekeeper.is_crowded(handler) and not (
            GRANT_HEADER in headers or "events-copy" in headers or headers.get("events-generation")
        )

    def put(self, arrival: Arrival) -> None:
        """Park it if it is blocked, soon."""
        self._arrivals.put(arrival)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events-parking", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._park([self._arrivals.get(), *self._others()])

    def _others(self) -> list[Arrival]:
        return [self._arrivals.get() for _ in range(min(self._arrivals.qsize(), _MANY - 1))]

    def _park(self, arrivals: Sequence[Arrival]) -> None:
        try:
            parked = self._gatekeeper.park_blocked([arrival.run for arrival in arrivals])
        except Exception:  # the thread must not end; in the pool it will be seen for each what is wrong
            logger.exception("%d deliveries could not be parked", len(arrivals))
            parked = [False] * len(arrivals)
        logger.debug("%d of %d deliveries were parked before the pool had them", sum(parked), len(parked))
        for arrival, is_parked in zip(arrivals, parked, strict=True):
            try:
                (arrival.parked if is_parked else arrival.go_on)()
            except Exception:  # at the worst it stays unacknowledged, and comes back
                logger.exception("%s, %s", arrival.run.task_id, "which is parked" if is_parked else "which is to run")
