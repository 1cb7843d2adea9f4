"""What follows from a failed attempt."""

from __future__ import annotations

from events_core import GiveUp, Retry, RetryLater
from events_worker.outcome import Dead, Delayed, Reason
from events_worker.redaction import Failure

#: Nothing that endangers its process is started more often.
MAX_STARTS = 3
#: Failures that would have ended the process, had the worker not caught them.
DANGEROUS = (MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit)


class HandlerTimeout(Exception):
    """A handler ran longer than its `timeout`."""


def after_failure(
    error: BaseException, failure: Failure, retry: Retry | None, *, attempt: int, starts: int
) -> Delayed | Dead:
    """The outcome of attempt number `attempt`, which failed with `error`. starts: those of all attempts so far."""
    if isinstance(error, RetryLater):
        return Delayed(error.seconds, attempt, "RetryLater")
    if isinstance(error, GiveUp):
        return _dead("gave_up", failure)
    if isinstance(error, DANGEROUS):
        return _after_dangerous(failure, retry, attempt, starts)
    if retry is None or attempt >= retry.max_attempts:
        return _dead("exhausted", failure)
    if not retry.retries(error):
        return _dead("gave_up", failure)
    return Delayed(retry.delay(attempt), attempt + 1, failure.type)


def _after_dangerous(failure: Failure, retry: Retry | None, attempt: int, starts: int) -> Delayed | Dead:
    """An ordinary failure whatever `Retry.on` says, but never more than three starts."""
    if starts >= MAX_STARTS:
        return _dead("poison", failure)
    if retry is None or attempt >= retry.max_attempts:
        return _dead("exhausted", failure)
    return Delayed(retry.delay(attempt), attempt + 1, failure.type)


def _dead(reason: Reason, failure: Failure) -> Dead:
    return Dead(reason, failure.message, failure.type, failure.traceback)
