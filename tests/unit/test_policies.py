"""Retry, RetryLater, GiveUp: plain values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_core import BindError, GiveUp, Retry, RetryLater


def test_the_default_is_the_one_of_the_docs() -> None:
    """DESIGN §3: five attempts, 1 s doubling up to 300 s, with jitter, on any Exception."""
    assert Retry() == Retry(5, 1.0, 2.0, 300.0, True, (Exception,), ())


def test_delays_grow_by_the_factor_up_to_the_most() -> None:
    """Without jitter the delays are exactly base * factor ** n, capped."""
    retry = Retry(base=1, factor=3, max_delay=20, jitter=False)
    assert [retry.delay(attempt) for attempt in (1, 2, 3, 4, 5)] == [1, 3, 9, 20, 20]


@given(attempt=st.integers(1, 100_000), base=st.floats(0, 1e6), factor=st.floats(0, 1e3), most=st.floats(0, 1e6))
def test_a_delay_stays_within_its_bounds(attempt: int, base: float, factor: float, most: float) -> None:
    """Never negative, never above max_delay, never an overflow; jitter leaves at least half."""
    exact = Retry(base=base, factor=factor, max_delay=most, jitter=False).delay(attempt)
    spread = Retry(base=base, factor=factor, max_delay=most, jitter=True).delay(attempt)
    assert 0 <= exact <= most
    assert exact / 2 <= spread <= exact


def test_jitter_spreads() -> None:
    """Deliveries that failed together do not come back together."""
    retry = Retry(base=100, jitter=True)
    assert len({retry.delay(1) for _ in range(20)}) > 10


@pytest.mark.parametrize(
    "options, error, retried",
    [
        ({}, ValueError(), True),
        ({}, KeyboardInterrupt(), False),
        ({"on": (ConnectionError,)}, ConnectionResetError(), True),
        ({"on": ConnectionError}, ConnectionResetError(), True),
        ({"on": (ConnectionError,)}, ValueError(), False),
        ({"give_up_on": (ValueError,)}, ValueError(), False),
        ({"give_up_on": ValueError}, UnicodeError(), False),
        ({"on": (OSError,), "give_up_on": (FileNotFoundError,)}, PermissionError(), True),
        ({"on": (OSError,), "give_up_on": (FileNotFoundError,)}, FileNotFoundError(), False),
    ],
)
def test_which_exceptions_are_tried_again(options: dict[str, Any], error: BaseException, retried: bool) -> None:
    """`on` says which, subclasses included; `give_up_on` beats it."""
    assert Retry(**options).retries(error) is retried


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"base": -1},
        {"factor": -1},
        {"max_delay": -1},
        {"base": float("inf")},
        {"base": float("nan")},
        {"factor": float("inf")},
        {"factor": float("nan")},
        {"max_delay": float("inf")},
        {"max_delay": float("nan")},
        {"max_delay": 1e12},
        {"base": "1"},
        {"on": (ValueError, "KeyError")},
        {"on": ValueError()},
        {"give_up_on": [ValueError]},
        {"give_up_on": int},
    ],
)
def test_values_that_cannot_work_are_refused_where_they_are_written(options: dict[str, Any]) -> None:
    """The error names the option, at bind time and not at the first failure."""
    with pytest.raises(BindError, match=next(iter(options))):
        Retry(**options)


def test_a_policy_is_a_value() -> None:
    """Frozen and compared by value, so that the same handler may be bound to several events."""
    assert Retry(max_attempts=3) == Retry(max_attempts=3)
    with pytest.raises(FrozenInstanceError):
        Retry().max_attempts = 7  # type: ignore[misc]


def test_retry_later_and_give_up_carry_what_they_say() -> None:
    """A handler raises them; neither takes nonsense."""
    assert RetryLater(2.5).seconds == 2.5
    assert GiveUp("card stolen").reason == "card stolen"
    assert str(GiveUp()) == "the handler gave up"


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("-inf"), float("nan"), 1e300, 10**400, "5", None])
def test_a_time_that_never_comes_is_refused_where_it_is_raised(seconds: Any) -> None:
    """Not when the worker stores it, where it would fail again and again."""
    with pytest.raises(ValueError, match="seconds must be from 0 to"):
        RetryLater(seconds)
