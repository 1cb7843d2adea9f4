"""Deliveries for crowded gates are parked many at a time, before they take a slot of the pool.

A burst of them must not hold up what lies behind it in their queue. To take one from the broker, undecoded, costs a
tenth of what it costs to park it: so they are all taken, and parked some at a time, with rests in which the others run.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from events_core.admission.turns import GRANT_HEADER
from events_core.forking import call_in_child
from events_worker.run import Run

if TYPE_CHECKING:
    from events_worker.limits.gatekeeper import LinedUp

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: So many are parked in one step at the most: a few milliseconds' work. Fewer would disturb others for a shorter time
#: each, but cost so much more that they disturb more of them.
_MANY = 64
#: Seconds of a rest. Most bursts are read to their end in the first one.
_REST = 0.020
#: So many are looked at, some 0.1 ms, before others get the interpreter for so many seconds.
_FEW, _MOMENT = 4, 0.00005
#: Bytes that may wait here, and what a message counts at least. From half of them on there are no rests: a long backlog
#: is worked off as fast as it can be.
_AHEAD, _LEAST = 4 * 1024 * 1024, 4096


class Gatekeeper(Protocol):
    """What is needed of the gatekeeper."""

    def is_crowded(self, handler: str, number: int) -> bool: ...

    def line_up(self, runs: Iterable[Run]) -> list[LinedUp]: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery that has just come. size: bytes of its message. reads_on: the worker meanwhile gets what is behind it.

    read: the run that it asks for; None, or an error, if it is not to be parked. acknowledge: it is parked.
    waits: tells of that. go_on: lets the pool run it. They are called by another thread.
    """

    size: int
    reads_on: bool
    read: Callable[[], Run | None]
    acknowledge: Callable[[], None]
    waits: Callable[[Run], None]
    go_on: Callable[[], None]


class Parking:
    """One thread for each process that does it. In a burst one delivery costs a third of what it costs in the pool."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._reads_on = False  # as the last one that came says
        self._thread: threading.Thread | None = None
        self._came = self._went = 0  # bytes; each is added to by one thread

    def wants(self, handler: str, number: int = 1) -> bool:
        """Whether so many new deliveries to the handler, which have come together, are rather parked than run."""
        return self._gatekeeper.is_crowded(handler, number)

    @property
    def room(self) -> int:
        """Bytes that may still come to wait here."""
        return _AHEAD - (self._came - self._went)

    def put(self, arrival: Arrival) -> None:
        """Park it if it is blocked, soon."""
        self._came += max(arrival.size, _LEAST)
        self._reads_on = arrival.reads_on
        self._arrivals.put(arrival)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events-parking", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            first = self._arrivals.get()
            others = [self._arrivals.get() for _ in range(min(self._arrivals.qsize(), _MANY - 1))]
            # where nobody waits, places are free for whoever comes next
            if self._park([first, *others]) and self._at_ease and not self._arrivals.empty():
                time.sleep(_REST)

    @property
    def _at_ease(self) -> bool:
        """Whether the worker reads on meanwhile, and not so much waits that it will soon have to stop."""
        return self._reads_on and self.room > _AHEAD / 2

    def _park(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether any of them waits."""
        runs = [_run_of(arrival) for arrival in self._gently(arrivals)]
        known = [run for run in runs if run is not None]
        try:
            lined_up = self._gatekeeper.line_up(self._gently(known))
        except BaseException:  # the thread must not end; in the pool it will be seen for each what is wrong
            logger.exception("%d deliveries could not be parked", len(known))
            lined_up = ["asks"] * len(known)
        told = iter(lined_up)
        hows = ["asks" if run is None else next(told) for run in runs]
        parked = len(hows) - hows.count("asks")
        logger.debug("%d of %d deliveries were parked before the pool had them", parked, len(hows))
        for arrival, run, how in self._gently(zip(arrivals, runs, hows, strict=True)):
            self._went += max(arrival.size, _LEAST)
            try:
                _settle(arrival, run, how)
            except BaseException:  # at the worst it stays unacknowledged, and comes back
                logger.exception("%s could not be acknowledged, or not be run", run.task_id if run else "a delivery")
        return "waits" in hows

    def _gently(self, these: Iterable[T]) -> Iterator[T]:
        """Take these a few at a time, unless much waits. Threads that wait for the interpreter get it then, and
        not when this one has had it for 5 ms (`sys.getswitchinterval`): each of them needs it several times.
        """
        for number, this in enumerate(these, 1):
            yield this
            if number % _FEW == 0 and self._at_ease:
                time.sleep(_MOMENT)


def _settle(arrival: Arrival, run: Run | None, how: LinedUp) -> None:
    if run is None or how == "asks":
        arrival.go_on()
        return
    arrival.acknowledge()
    if how == "waits":  # of others is told that they run
        arrival.waits(run)


def is_new(headers: dict[str, object]) -> bool:
    """Whether a message of these headers may be parked like that: it is no copy, no grant, and was not redriven."""
    return not (GRANT_HEADER in headers or "events-copy" in headers or headers.get("events-generation"))


def _run_of(arrival: Arrival) -> Run | None:
    try:
        return arrival.read()
    except BaseException:  # as an application's key function may raise it; the pool will tell what is wrong
        return None
