"""What Celery, and whoever watches it, is told of a run that was not simply done."""

from __future__ import annotations

import sys
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery.app import trace
from celery.exceptions import Retry as CeleryRetry

from events_worker.outcome import Busy, Dead, Delayed, Held, Outcome, Parked


class DeadLettered(Exception):
    """What Celery and Flower are told of a delivery that became a dead letter: why, without the payload."""


class RunAgain(Exception):
    """What Celery and Flower are told of a delivery that is run again later."""


#: Of a delivery that is parked.
WAITS = RunAgain("it waits for its turn")


def told_of(outcome: Outcome) -> Exception | None:
    """What a task raises to tell Celery of an outcome, as its states RETRY and FAILURE; None where it succeeds."""
    told: Exception | None = None
    if isinstance(outcome, Parked):
        told = CeleryRetry(exc=WAITS)
    elif isinstance(outcome, Delayed | Held | Busy):
        reason = "another copy is running" if isinstance(outcome, Busy) else outcome.reason
        told = CeleryRetry(exc=RunAgain(reason), when=round(outcome.seconds, 3))
    elif isinstance(outcome, Dead):
        told = DeadLettered(": ".join(filter(None, (outcome.reason, outcome.error_type))))
    return told


class _Information(trace.ExceptionInfo):
    """Celery's record of an exception, without the traceback where it is one of ours.

    It would lead from Celery's tracer to the line that raises it, and tell nobody anything; to copy and to format it
    takes 0.6 ms, which is 15 times what else there is to do.
    """

    def __init__(self, exc_info: Any = None, internal: bool = False) -> None:
        kind, exception, _ = exc_info or sys.exc_info()
        if isinstance(exception.exc if isinstance(exception, CeleryRetry) else exception, RunAgain | DeadLettered):
            self.type, self.tb, self.traceback, self.internal = kind, None, "", internal
            self.exception = ExceptionWithTraceback(exception, "")
        else:
            super().__init__(exc_info, internal)


trace.ExceptionInfo = _Information
