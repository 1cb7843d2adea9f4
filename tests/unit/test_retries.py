"""What follows from a failed attempt, as a table."""

from __future__ import annotations

import pytest

from events_core import GiveUp, Retry, RetryLater
from events_worker.outcome import Dead, Delayed
from events_worker.redaction import Failure
from events_worker.retries import HandlerTimeout, after_failure

FAILURE = Failure("ValueError", "message", "traceback")
RETRY = Retry(max_attempts=3, base=10, factor=2, jitter=False, give_up_on=(KeyError,))


def after(error: BaseException, attempt: int = 1, retry: Retry | None = RETRY) -> Delayed | Dead:
    return after_failure(error, FAILURE, retry, attempt=attempt, starts=attempt)


def dead(reason: str) -> Dead:
    return Dead(reason, "message", "ValueError", "traceback")  # type: ignore[arg-type]


def test_an_attempt_that_failed_is_followed_by_the_next_after_its_delay() -> None:
    """Item 6: the delay is the policy's, and the attempt counts."""
    assert after(ValueError()) == Delayed(10, 2, "ValueError")
    assert after(ValueError(), 2) == Delayed(20, 3, "ValueError")


def test_the_last_attempt_is_the_last() -> None:
    """max_attempts counts the first one too."""
    assert after(ValueError(), 3) == dead("exhausted")
    assert after(ValueError(), 4) == dead("exhausted")


def test_no_retry_means_one_attempt() -> None:
    """retry=None."""
    assert after(ValueError(), retry=None) == dead("exhausted")
    assert after(ValueError(), retry=Retry(max_attempts=1)) == dead("exhausted")


def test_an_exception_that_is_not_retried_gives_up() -> None:
    """give_up_on, and what `on` leaves out, are dead at once, with a reason of their own."""
    assert after(KeyError()) == dead("gave_up")
    assert after(ValueError(), retry=Retry(on=OSError)) == dead("gave_up")


@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_give_up_is_dead_at_any_attempt(attempt: int) -> None:
    """Whatever the policy says."""
    assert after(GiveUp("no"), attempt) == dead("gave_up")
    assert after(GiveUp("no"), attempt, retry=None) == dead("gave_up")


@pytest.mark.parametrize("retry", [RETRY, None, Retry(max_attempts=1), Retry(on=OSError)])
@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_retry_later_counts_no_attempt(retry: Retry | None, attempt: int) -> None:
    """DESIGN §3: as often as the handler wants, with the same attempt number."""
    assert after(RetryLater(7), attempt, retry) == Delayed(7, attempt, "RetryLater")


def test_running_out_of_time_is_an_ordinary_failure() -> None:
    """A timeout has an outcome: retried like any exception, dead after the last attempt."""
    assert isinstance(after(HandlerTimeout()), Delayed)
    assert after(HandlerTimeout(), 3) == dead("exhausted")


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
class TestDangerous:
    def test_it_is_tried_again_whatever_on_says(self, error: BaseException) -> None:
        """They would have ended the process: an ordinary failure instead."""
        assert isinstance(after(error, retry=Retry(on=OSError)), Delayed)

    def test_it_is_poison_after_three_starts_at_the_most(self, error: BaseException) -> None:
        """Promise 5, however many attempts the policy would allow."""
        assert isinstance(after(error, 2, Retry(max_attempts=50)), Delayed)
        assert after(error, 3, Retry(max_attempts=50)) == dead("poison")

    def test_fewer_attempts_stay_fewer(self, error: BaseException) -> None:
        """The policy's own end is not exceeded."""
        assert after(error, 2, Retry(max_attempts=2)) == dead("exhausted")
        assert after(error, 1, None) == dead("exhausted")
