"""What is granted when a run of this process ends, this process runs itself: no broker, no other worker comes between.

That saves a message to the broker and back, and the step that grants it is the one in which it begins: nothing is asked
again. So its lease tells whether it is still alive: of a process that dies before it has run, the places come back as
those of any other, and it waits again where it was, for its message has never left Redis.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from events_core.admission.client import Grant
from events_core.admission.turns import Granted
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

    def run(self, message: Message) -> bool:
        """Give it to the pool; whether that went well. Called from any thread."""
        ...


class Admission(Protocol):
    """What is needed of the gatekeeper."""

    def begin_granted(self, run: Run, grant: Grant) -> bool:
        """Let it begin as Redis has it. False: its gates are other ones here, or cannot be told."""
        ...

    def pass_on(self, grants: Sequence[Grant]) -> list[bool]:
        """They have begun here, and will not run here. For each, whether it is now to be published."""
        ...

    def abandon(self, run: Run) -> None:
        """It has begun, and will not run."""
        ...


class _Coming(NamedTuple):
    """A run that the pool was given. headers: those of its message."""

    run: Run
    headers: dict[str, Any]


class HandOver:
    """What one process takes over, of one system."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        #: What runs it; None: nothing is taken over.
        self.host: Host | None = None
        self._lock = threading.Lock()
        self._coming: dict[str, _Coming] = {}  # not run yet, by the id of their task
        self._ending = 0

    def open(self, host: Host | None) -> None:
        """Take over what this pool runs. None: nothing any more."""
        self.host = host

    def room(self) -> int:
        """How many it takes."""
        return 0 if self.host is None else max(self.host.room + self._ending, 0)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Within the block a run comes to its end, and its slot counts as free."""
        with self._lock:
            self._ending += 1
        try:
            yield
        finally:
            with self._lock:
                self._ending -= 1

    def take(self, granted: Sequence[Granted]) -> list[Granted]:
        """Run what has begun here; gives what is to be published."""
        left: list[Granted] = []
        others: list[Granted] = []
        for grant, message in granted:
            if grant.unfinished is None:
                left.append((grant, message))
            elif not self._run(grant, message):
                others.append((grant, message))
        if others:
            passed_on = self._admission.pass_on([grant for grant, _ in others])
            left += [each for each, done in zip(others, passed_on, strict=True) if done]
        return left

    def _run(self, grant: Grant, message: Message) -> bool:
        host, delivery = self.host, message.delivery
        if host is None or self.room() <= 0 or not host.runs(delivery.handler, delivery.queue):
            return False
        try:
            run = _run_of(message)
            begins = self._admission.begin_granted(run, grant)
        except Exception:  # the others of the same step are not to wait for it
            logger.exception("%s, which was to run here, goes to the broker", grant.member)
            return False
        if not begins:
            return False
        with self._lock:
            self._coming[run.task_id] = _Coming(run, message.headers)
        if not host.run(message):
            self.give_up(run.task_id)
        return True

    def received(self, task_id: str, headers: dict[str, Any]) -> Run | None:
        """The run that was taken over with a message of these headers, if there is one."""
        coming = self._coming.get(task_id)
        return coming.run if coming is not None and coming.headers is headers else None

    def begun(self, run: Run) -> bool:
        """Whether this run was taken over; from now on it is no business of ours."""
        if not self._coming:
            return False
        with self._lock:
            coming = self._coming.get(run.task_id)
            if coming is None or coming.run is not run:
                return False
            del self._coming[run.task_id]
        run.started_at = time.time()
        return True

    def give_up(self, task_id: str) -> None:
        """It will not run here: its places come back when its lease ends, and it waits again."""
        with self._lock:
            coming = self._coming.pop(task_id, None)
        if coming is not None:
            self._admission.abandon(coming.run)

    def leave(self) -> list[Run]:
        """The process ends: what has not run."""
        self.host = None
        with self._lock:
            left, self._coming = self._coming, {}
        return [coming.run for coming in left.values()]


def _run_of(message: Message) -> Run:
    delivery = message.delivery
    payload = json.loads(message.body)[0][0]
    return Run.of(delivery.task_id, delivery.handler, delivery.queue, message.headers, payload, redelivered=False)
