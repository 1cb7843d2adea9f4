"""The ledger in a real Redis: a start counts once, however often it is asked for."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis

from events_core.coordination import Coordination
from events_worker.ledger import LEASE, Begun, Claimed, Ended, Ledger


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True, protocol=2)


@pytest.fixture
def ledger(client: redis.Redis) -> Ledger:
    return Ledger(Coordination(client, "shop:"))


@pytest.fixture
def task_id() -> str:
    return str(uuid4())


def test_a_start_repeated_by_its_owner_counts_once(ledger: Ledger, client: redis.Redis, task_id: str) -> None:
    """The reply was lost and the owner asks again: it runs, its claim is renewed; for anyone else it is claimed."""
    assert ledger.begin_alone(task_id, 1, "a") == Begun(1)
    client.hincrby(ledger.key(task_id), "until", -20_000)
    assert ledger.begin_alone(task_id, 1, "a") == Begun(1)
    other = ledger.begin_alone(task_id, 1, "b")
    assert isinstance(other, Claimed)
    assert LEASE - 10 < other.seconds <= LEASE
    assert client.hget(ledger.key(task_id), "starts") == "1"


def test_it_counts_once_even_if_the_claim_ended_meanwhile(ledger: Ledger, client: redis.Redis, task_id: str) -> None:
    """Redis was away for longer than the claim holds; no one else took it."""
    ledger.begin_alone(task_id, 1, "a")
    client.hset(ledger.key(task_id), "until", 1)
    assert ledger.begin_alone(task_id, 1, "a") == Begun(1)
    assert isinstance(ledger.begin_alone(task_id, 1, "b"), Claimed)


def test_each_owner_counts(ledger: Ledger, client: redis.Redis, task_id: str) -> None:
    ledger.begin_alone(task_id, 1, "a")
    client.hset(ledger.key(task_id), "until", 1)
    assert ledger.begin_alone(task_id, 1, "b") == Begun(2)
    assert isinstance(ledger.begin_alone(task_id, 1, "a"), Claimed)


def test_only_the_owner_withdraws_and_only_once(ledger: Ledger, client: redis.Redis, task_id: str) -> None:
    """A warden that took its time must not take back the start of the one after it."""
    ledger.begin_alone(task_id, 1, "a")
    client.hset(ledger.key(task_id), "until", 1)
    ledger.begin_alone(task_id, 1, "b")
    ledger.withdraw(task_id, 1, "a")
    assert isinstance(ledger.begin_alone(task_id, 1, "c"), Claimed)
    ledger.withdraw(task_id, 1, "b")
    ledger.withdraw(task_id, 1, "b")
    assert client.hgetall(ledger.key(task_id)) == {"starts": "1"}


def test_a_settled_run_is_not_begun_again_by_its_owner(ledger: Ledger, task_id: str) -> None:
    ledger.begin_alone(task_id, 1, "a")
    assert ledger.settle(task_id, 1)
    assert ledger.begin_alone(task_id, 1, "a") == Ended("done")
    assert ledger.begin_alone(task_id, 2, "a") == Begun(1)


def test_of_several_messages_the_first_has_the_delivery(ledger: Ledger, client: redis.Redis, task_id: str) -> None:
    """Delivered again it still has it, and goes on after the death of its worker; the others wait for its end."""
    assert ledger.own(task_id, 1, "a") == Begun(1)
    assert isinstance(ledger.own(task_id, 1, "b"), Claimed)
    assert ledger.own(task_id, 1, "a") == Begun(1)
    assert client.hget(ledger.key(task_id), "starts") is None  # it counts none
    ledger.settle(task_id, 1, 60)
    assert ledger.own(task_id, 1, "b") == ledger.own(task_id, 1, "a") == Ended("done")
    assert 0 < client.ttl(ledger.key(task_id)) <= 60
