"""Dead letters in a real Redis: whose clock counts, and what forged headers may do."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from unittest.mock import ANY
from uuid import uuid4

import pytest
import redis

from events_core.coordination import Coordination
from events_core.publishing.stored import StoredMessage
from events_worker.dead_letters import DeadLetter, DeadLetters, raw
from events_worker.ledger import Ledger
from events_worker.outcome import Dead
from events_worker.schedule import Schedule

DAY = 86400.0
RETENTION = 30 * DAY


@pytest.fixture
def letters(redis_url: str) -> DeadLetters:
    coordination = Coordination(redis.Redis.from_url(redis_url, decode_responses=True, protocol=2), "shop:")
    ledger = Ledger(coordination)
    return DeadLetters(coordination, ledger, Schedule(coordination, ledger), RETENTION)


def letter(first_at: float = 0.0) -> DeadLetter:
    message = StoredMessage("shop.charge", "shop.events", {}, "[]")
    return DeadLetter.of(str(uuid4()), message, Dead("exhausted"), starts=1, first_at=first_at)


def wrong_clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    right = time.time
    patch.setattr(time, "time", lambda: right() + seconds)


@pytest.mark.parametrize("days", [-40, 40])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "settled"])
def test_a_worker_whose_clock_is_wrong_forgets_nothing(
    letters: DeadLetters, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool
) -> None:
    """Neither its own letters nor those of the others, and the times shown are Redis's."""
    others, own = letter(), None
    letters.keep(others)
    before = time.time()
    with monkeypatch.context() as patch:
        wrong_clock(patch, days * DAY)
        own = letter()
        if kept:
            letters.keep(own)
        else:
            assert letters.settle(own, 1)
        assert letters.prune() == 0
    assert letters.prune() == 0
    assert [found.id for found in letters.find()] == [own.id, others.id]
    stored = letters.get(own.id)
    assert stored is not None
    assert stored.dead_at == next(letters.find(ids=(own.id,))).dead_at
    assert abs(stored.dead_at - before) < DAY


def test_old_letters_are_pruned(letters: DeadLetters, redis_url: str) -> None:
    """More than one page of them; newer ones stay."""
    old = [letter() for _ in range(3)]
    for one in old:
        letters.keep(one)
    new = letter()
    letters.keep(new)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.zadd("shop:dead", {one.id: time.time() - RETENTION - 60 for one in old})
        assert letters.prune() == 3
        assert client.hkeys("shop:dead:letters") == [new.id]
    assert [found.id for found in letters.find()] == [new.id]


@pytest.mark.parametrize("first_at", [math.inf, -math.inf, math.nan, 1e300, -1e18])
def test_a_time_that_is_none_is_shown_as_none(letters: DeadLetters, first_at: float) -> None:
    """The header `events-first-at` is whatever the sender wrote: it must not hide the other letters."""
    letters.keep(letter(first_at))
    letters.keep(letter(1.0))
    assert [found.shown()["first_at"] for found in letters.find()] == ["1970-01-01T00:00:01.000+00:00", None]


def test_garbage_without_end_does_not_fill_the_redis(letters: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest the bytes are kept, of more the letters; letters of deliveries are none of them."""
    monkeypatch.setattr(raw, "_ALL", 20)
    monkeypatch.setattr(raw, "_LETTERS", 4)
    delivery = letter()
    letters.keep(delivery)
    garbage = [raw_letter(f"{number}" * 10) for number in range(6)]
    for one in garbage:
        letters.keep(one)
    kept = {found.id: found.raw for found in letters.find()}
    assert [kept.get(one.id) for one in garbage] == [None, None, "", "", "4" * 10, "5" * 10]
    assert delivery.id in kept
    letters.keep(garbage[5])  # it came again
    assert len([*letters.find()]) == 5
    assert letters._client.hget(letters._raw.keys[2], "") == "20"
    letters.discard(garbage[5])
    assert (letters._client.hget(letters._raw.keys[2], ""), letters._client.zcard(letters._raw.keys[0])) == ("10", 3)
    letters._client.zadd(letters._by_time, {garbage[4].id: 1})  # too old now
    assert letters.prune() == 1
    assert (letters._client.hget(letters._raw.keys[2], ""), letters._client.zcard(letters._raw.keys[0])) == ("0", 2)
    one = raw_letter("6" * 30)  # alone too much: it is kept all the same
    letters.keep(one)
    assert letters.get(one.id) == replace(one, dead_at=ANY)


def raw_letter(body: str) -> DeadLetter:
    message = StoredMessage("", "shop.events", {}, "")
    return DeadLetter.of(str(uuid4()), message, Dead("undecodable"), starts=0, first_at=0.0, raw=body)
