"""What a process believes of paused handlers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from events_worker.limits.paused import PausedHandlers
from tests.support.admission import Gatehouse
from tests.support.waiting import wait_until


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    yield house
    house.close()


def make_old(paused: PausedHandlers) -> None:
    """As after some idle seconds."""
    paused._next = paused._old_at = 0.0


def test_what_was_paused_before_the_process_began(house: Gatehouse) -> None:
    house.call(["pause", "mail"])
    paused = PausedHandlers(house.admission.coordination)
    assert "mail" in paused
    assert "print" not in paused


def test_what_was_paused_while_the_process_was_idle(house: Gatehouse) -> None:
    """Not even one is let through first."""
    paused = PausedHandlers(house.admission.coordination)
    assert "mail" not in paused
    house.call(["pause", "mail"])
    make_old(paused)
    assert "mail" in paused


def test_who_asks_all_the_time_does_not_wait(house: Gatehouse) -> None:
    """It is looked up beside the runs; they learn of it in a moment."""
    paused = PausedHandlers(house.admission.coordination)
    assert "mail" not in paused
    paused._next = 0.0
    house.call(["pause", "mail"])
    wait_until(lambda: "mail" in paused, what="the next look")


def test_a_redis_that_does_not_answer_holds_up_the_first_run_only(house: Gatehouse) -> None:
    paused = PausedHandlers(house.admission.coordination)
    assert "mail" not in paused
    make_old(paused)
    answer = threading.Event()
    looks = []

    def look(key: str) -> set[str]:
        looks.append(key)
        answer.wait(30)
        raise redis.ConnectionError

    paused._client = type("Deaf", (), {"smembers": staticmethod(look)})()  # type: ignore[assignment]
    for _ in range(5):
        assert "mail" not in paused  # only the first of them waits
    assert len(looks) == 1
    answer.set()


def test_nobody_runs_ahead_of_the_first_look(house: Gatehouse) -> None:
    """Several deliveries at once reach a process that has just begun."""
    house.call(["pause", "mail"])
    paused = PausedHandlers(house.admission.coordination)
    client, look = paused._client, threading.Event()

    class Slow:
        def smembers(self, key: str) -> object:
            look.wait(30)
            return client.smembers(key)

    paused._client = Slow()  # type: ignore[assignment]
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append("mail" in paused)) for _ in range(4)]
    for thread in threads:
        thread.start()
    look.set()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
