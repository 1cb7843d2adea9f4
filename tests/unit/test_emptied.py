"""Telling that the coordination Redis was emptied."""

from __future__ import annotations

import logging

import pytest

from events_worker.limits.emptied import EmptiedWatch


@pytest.fixture(autouse=True)
def _errors_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def test_the_first_look_and_the_same_redis_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watch = EmptiedWatch()
    for parked in (0, 5, 0):
        watch.look("1", parked)
    assert caplog.messages == []


def test_an_emptied_one_is_said_once_with_what_was_parked_last(caplog: pytest.LogCaptureFixture) -> None:
    watch = EmptiedWatch()
    watch.look("1", 5)
    watch.look("1", 12)
    watch.look("2", 0)
    watch.look("2", 3)
    [text] = caplog.messages
    assert text.startswith("the coordination Redis was emptied: 12 deliveries that were parked there are lost")
    assert "Emit the lost events again from the application's own records" in text
    watch.look("3", 0)
    assert "3 deliveries" in caplog.messages[1]


def test_nothing_was_parked(caplog: pytest.LogCaptureFixture) -> None:
    watch = EmptiedWatch()
    watch.look("1", 0)
    watch.look("2", 0)
    assert "nothing was parked there at the last look" in caplog.messages[0]
