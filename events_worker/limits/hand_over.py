"""What is granted when a run of this process ends, this process runs itself: no broker, no other worker comes between.

That saves a message to the broker and back, and a slot of the pool does not wait for Redis: it is admitted before. So
its lease tells whether it is still alive: of a process that dies before it has begun, the places come back as those of
any other, and it waits again where it was, for its message has never left Redis.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from events_core.admission.turns import GRANT_HEADER, Granted
from events_core.forking import call_in_child
from events_core.publishing.messages import Message
from events_worker.run import Run

logger = logging.getLogger(__name__)


class Host(Protocol):
    """The pool of this process."""

    @property
    def room(self) -> int:
        """How many more deliveries it may have."""
        ...

    def runs(self, handler: str, queue: str) -> bool:
        """Whether this process runs that handler, and takes deliveries from that queue."""
        ...

    def run(self, message: Message, give_up: Callable[[], None]) -> None:
        """Give it to the pool. Called from any thread. give_up: is called where that fails."""
        ...


class Admit(Protocol):
    """Admits runs that were granted: for each whether it may begin, or None if it must be asked elsewhere."""

    def __call__(self, runs: Sequence[Run]) -> list[bool | None]: ...


class HandOver:
    """What one process takes over, of one system.

    abandon: called for a run that was admitted, and will not begin.
    """

    def __init__(self, admit: Admit, abandon: Callable[[Run], None]) -> None:
        self._admit = admit
        self._abandon = abandon
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        #: What runs it; None: nothing is taken over.
        self.host: Host | None = None
        self._lock = threading.Lock()
        self._ready: dict[str, Run] = {}  # admitted, and not begun, by the id of their task

    def open(self, host: Host | None) -> None:
        """Take over what this pool runs. None: nothing any more."""
        self.host = host

    def wanted(self) -> bool:
        """Whether it takes any."""
        return self.host is not None and self.host.room > 0

    def take(self, granted: Sequence[Granted]) -> list[Granted]:
        """Run what can be run here; gives what cannot."""
        host = self.host
        if host is None:
            return [*granted]
        room = host.room
        mine: list[Granted] = []
        left: list[Granted] = []
        for grant, message in granted:
            delivery = message.delivery
            fits = len(mine) < room and host.runs(delivery.handler, delivery.queue)
            (mine if fits else left).append((grant, message))
        runs = [_run_of(message) for _, message in mine]
        for (grant, message), run, may in zip(mine, runs, self._admit(runs), strict=True):
            if may:
                with self._lock:
                    self._ready[run.task_id] = run
                host.run(message, partial(self.give_up, run.task_id))
            elif may is None:
                left.append((grant, message))
        return left

    def begun(self, run: Run) -> Run | None:
        """The run as it was admitted, if it was taken over."""
        if not self._ready:
            return None
        with self._lock:
            ready = self._ready.get(run.task_id)
            if ready is None or ready.token != run.headers.get(GRANT_HEADER):
                return None
            return self._ready.pop(run.task_id)

    def give_up(self, task_id: str) -> None:
        """It will not begin here: its places come back when its lease ends, and it waits again."""
        with self._lock:
            run = self._ready.pop(task_id, None)
        if run is not None:
            self._abandon(run)

    def leave(self) -> list[Run]:
        """The process ends: what has not begun."""
        self.host = None
        with self._lock:
            left, self._ready = [*self._ready.values()], {}
        return left


def _run_of(message: Message) -> Run:
    delivery = message.delivery
    payload = json.loads(message.body)[0][0]
    return Run.of(delivery.task_id, delivery.handler, delivery.queue, message.headers, payload, redelivered=False)
