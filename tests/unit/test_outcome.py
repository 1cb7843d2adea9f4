"""Outcomes are values: compared by what they hold, and unchangeable."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import get_args

import pytest

from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Parked, Settled

ALL = [Done(), Delayed(1.0, 2, "ValueError"), Held(1.0, "unknown"), Busy(1.0), Parked(), Settled(), Dead("exhausted")]


def test_every_outcome_is_listed_here() -> None:
    """A new one is a new way for a delivery to end, and needs tests of its own."""
    assert {type(outcome) for outcome in ALL} == set(get_args(Outcome))


@pytest.mark.parametrize("outcome", ALL, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_is_a_frozen_value(outcome: Outcome) -> None:
    """Settled in one place, changed nowhere on the way there."""
    assert outcome == type(outcome)(*[getattr(outcome, item.name) for item in fields(outcome)])
    for item in fields(outcome):
        with pytest.raises(FrozenInstanceError):
            setattr(outcome, item.name, None)


def test_they_differ_by_what_they_hold() -> None:
    """Two dead ones of different reasons are not the same."""
    assert Dead("exhausted") != Dead("poison")
    assert Delayed(1.0, 2, "x") != Delayed(1.0, 3, "x")
