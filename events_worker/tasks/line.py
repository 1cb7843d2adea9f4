"""Limited deliveries that a worker under `-P solo` has received and not begun: by them it knows which comes next."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, NamedTuple

from celery import Task

from events_core.transport.each_round import EachRound
from events_worker.limits.early import Early
from events_worker.run import Run

logger = logging.getLogger(__name__)

#: Seconds of one turn: acknowledgements, signals and remote control are heard only between two turns.
_TURN = 0.010


class _Waiting(NamedTuple):
    task: Task
    message: Any
    start: Callable[[], Any]


class Line:
    """What one Celery consumer has received over its present connection. First in, first out.

    See `events_worker.limits.early`, which asks it.
    """

    def __init__(self, consumer: Any, early: Early) -> None:
        self.consumer = consumer
        self.connection = consumer.connection
        self._early = early
        self._waiting: deque[_Waiting] = deque()
        self._turns = EachRound(consumer.hub, self._take_turn)
        self._until = 0.0  # of the present turn; 0 between two
        self._thread = 0  # that takes it

    def put(self, task: Task, message: Any, start: Callable[[], Any]) -> None:
        """A message has come that `start` runs, to its end."""
        self._waiting.append(_Waiting(task, message, start))
        self._turns.start()

    def close(self) -> None:
        """The connection has gone: its broker delivers again what waits."""
        self._waiting.clear()
        self._turns.close()

    def upcoming(self) -> Run | None:
        """The run that begins next. None if there is none, or if the event loop comes before it, and perhaps others."""
        if not self._waiting or time.monotonic() >= self._until:
            return None
        if get_ident() != self._thread:  # another worker of this process: its thread must not ask
            return None
        first = self._waiting[0]
        return run_of(first.task, first.message)

    def _take_turn(self) -> None:
        self._thread, self._until = get_ident(), time.monotonic() + _TURN
        try:
            while self._waiting:
                self._start(self._waiting.popleft())
                if self._early.run is None and time.monotonic() >= self._until:
                    return
            self._turns.stop()
        finally:
            self._until = 0.0
            self._early.withdraw()  # after an error: otherwise nothing is asked for here

    def _start(self, waiting: _Waiting) -> None:
        asked = self._early.run
        try:
            if self._is_consumed(waiting.message):
                waiting.start()
            else:
                waiting.message.reject_log_error(logger, self.consumer.connection_errors, requeue=True)
        finally:
            if asked is not None and self._early.run is asked:  # it was revoked, say
                self._early.withdraw()

    def _is_consumed(self, message: Any) -> bool:
        """Whether its queue still is. One may be cancelled at any time, and means what is received too."""
        information = message.delivery_info or {}
        direct = information.get("exchange") == ""  # else the queue has a name that the message does not tell
        return not direct or self.consumer.task_consumer.consuming_from(information["routing_key"])


def line_of(consumer: Any, early: Early) -> Line | None:
    """That of a consumer whose pool runs one at a time; None if there is nothing in advance, no end to it, or no loop.

    Only what runs is counted by `worker_disable_prefetch`, and nothing by a prefetch of 0: all would come at once.
    """
    if consumer.hub is None or consumer.initial_prefetch_count < 2 or consumer.app.conf.worker_disable_prefetch:
        return None
    line = early.ahead
    if isinstance(line, Line):
        if line.consumer is not consumer:
            return None  # two workers in one process: only one thread may ask early
        if line.connection is consumer.connection:
            return line
        line.close()
    early.ahead = made = Line(consumer, early)
    return made


def run_of(task: Task, message: Any) -> Run:
    """The run that a message of that task asks for."""
    information, headers = message.delivery_info or {}, message.headers
    queue = information.get("routing_key") or task.system.settings.default_queue
    payload = message.payload[0][0] if message.payload[0] else None
    return Run.of(headers["id"], task.name, queue, headers, payload, redelivered=bool(information.get("redelivered")))
