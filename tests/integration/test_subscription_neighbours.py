"""What the workers on one queue tell each other, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from events_core.coordination import Coordination
from events_worker.subscriptions import neighbours
from events_worker.subscriptions.neighbours import Asked, Neighbours

OLD = Asked("orders", "notification_event.order.placed", "shop.old", "shop.events", 1)
NEW = Asked("orders", "notification_event.order.placed", "shop.new", "shop.mail", 2)
OTHER = Asked("crm", "ecst_event.customer", "shop.other", "shop.events", 1)


@pytest.fixture
def coordination(redis_url: str) -> Iterator[Coordination]:
    client: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
    yield Coordination(client, "shop:")
    client.close()


def worker(coordination: Coordination, name: str, *asked: Asked) -> Neighbours:
    made = Neighbours(coordination, "shop.orders", asked)
    made._me = name
    made.refresh(fresh=True)
    return made


def hear(one: Neighbours) -> None:
    one._heard_at = float("-inf")  # it is due
    one.refresh()


def test_they_know_what_the_others_ask_for(coordination: Coordination) -> None:
    """Handlers that both know are no strangers."""
    old = worker(coordination, "a:1", OLD)
    new = worker(coordination, "b:2", OLD, NEW, OTHER)
    hear(old)
    assert [*old.strangers("orders", NEW.routing_key)] == [NEW]
    assert [*old.strangers("crm", OTHER.routing_key)] == [OTHER]
    assert [*old.strangers("crm", NEW.routing_key)] == []
    assert old.bindings == {("orders", NEW.routing_key), ("crm", OTHER.routing_key)}
    assert [*new.strangers("orders", OLD.routing_key)] == []
    assert new.bindings == {("orders", OLD.routing_key)}


def test_one_that_leaves_asks_for_nothing(coordination: Coordination) -> None:
    old, new = worker(coordination, "a:1", OLD), worker(coordination, "b:2", NEW)
    hear(old)
    new.leave()
    assert [*old.strangers("orders", NEW.routing_key)] == [NEW]  # as far as it has heard
    hear(old)
    assert [*old.strangers("orders", NEW.routing_key)] == []
    assert old.bindings == frozenset()


def test_one_that_was_killed_is_forgotten(coordination: Coordination, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = worker(coordination, "a:1", OLD), worker(coordination, "b:2", NEW)
    hear(old)
    assert old.bindings
    monkeypatch.setattr(neighbours, "_FORGET_AFTER", -1.0)
    hear(old)
    assert old.bindings == frozenset()
    assert coordination.client.hkeys("shop:subscription:shop.orders:asked") == ["a:1"]
