"""What the workers on one queue tell each other, on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events_core.coordination import Coordination
from events_worker.subscriptions.neighbours import Asked, Neighbours

KEY, TYPE = "shop:subscription:shop.orders:asked", "order.placed"
OLD = Asked("orders", "notification_event.order.placed", "shop.old", "shop.events", 1)
NEW = Asked("orders", "notification_event.order.placed", "shop.new", "shop.mail", 2)
OTHER = Asked("crm", "ecst_event.customer", "shop.other", "shop.events", 1)
GRACE = 900.0


@pytest.fixture
def coordination(redis_url: str) -> Iterator[Coordination]:
    client: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
    yield Coordination(client, "shop:")
    client.close()


def worker(coordination: Coordination, *asked: Asked, grace: float = GRACE) -> Neighbours:
    made = Neighbours(coordination, "shop.orders", asked, grace)
    made.refresh(now=True)
    return made


def workers(coordination: Coordination) -> set[str]:
    return {*coordination.client.hkeys(KEY)}  # type: ignore[misc]


def silent_for(coordination: Coordination, one: Neighbours, seconds: float) -> None:
    """It has said so for the last time so long ago."""
    said = json.loads(str(coordination.client.hget(KEY, one._me)))
    coordination.client.hset(KEY, one._me, json.dumps(said | {"at": said["at"] - seconds}))


def long_there(coordination: Coordination, *asked: Asked) -> Neighbours:
    """One that began before all others."""
    made = Neighbours(coordination, "shop.orders", asked, GRACE)
    made._since = 1.0
    made.refresh(now=True)
    return made


def test_they_know_what_the_others_ask_for(coordination: Coordination) -> None:
    """As of now, whenever they heard last. Handlers that both know are no strangers."""
    old = worker(coordination, OLD)
    new = worker(coordination, OLD, NEW, OTHER)
    old.hear()
    assert old.strangers("orders", TYPE) == [NEW]
    assert old.strangers("crm", "customer") == [OTHER]
    assert old.strangers("crm", TYPE) == []
    assert old.bindings == {("orders", NEW.routing_key), ("crm", OTHER.routing_key)}
    assert new.strangers("orders", TYPE) == []
    assert new.bindings == {("orders", OLD.routing_key)}


def test_a_topic_that_nobody_asked_for_tells_nothing(coordination: Coordination) -> None:
    """Nor does one that is not told, as for the subscribers of this worker."""
    old, _ = worker(coordination, OLD), worker(coordination, NEW)
    old.hear()
    assert old.strangers("elsewhere", TYPE) == old.strangers("", TYPE) == [NEW]


def test_processes_of_one_number_on_one_host_are_two(coordination: Coordination) -> None:
    """As in containers that share the host's name."""
    old, new = worker(coordination, OLD), worker(coordination, OLD, NEW)
    assert workers(coordination) == {old._me, new._me}
    assert len(workers(coordination)) == 2


class TestAway:
    def test_what_it_asked_for_is_kept(self, coordination: Coordination) -> None:
        """It may come back, and its deliveries are held for that long."""
        old, new = long_there(coordination, OLD), worker(coordination, OLD, NEW)
        silent_for(coordination, new, GRACE - 60)
        old.hear()
        assert old.strangers("orders", TYPE) == [NEW]
        assert old.bindings == {("orders", NEW.routing_key)}

    def test_after_the_grace_it_is_forgotten(self, coordination: Coordination) -> None:
        """A handler that was removed ends, also where the clock was set."""
        for seconds in (GRACE + 60, -GRACE - 60):
            old, new = long_there(coordination, OLD), worker(coordination, NEW)
            silent_for(coordination, new, seconds)
            old.hear()
            assert (old.bindings, old.strangers("orders", TYPE)) == (frozenset(), [])
            assert workers(coordination) == {old._me}
            coordination.client.delete(KEY)

    def test_without_a_grace_it_has_some_seconds(self, coordination: Coordination) -> None:
        """In which it cannot have said anything yet."""
        old, new = worker(coordination, OLD, grace=0), worker(coordination, NEW)
        silent_for(coordination, new, 10)
        old.hear()
        assert old.strangers("orders", TYPE) == [NEW]

    def test_a_deployment_that_has_replaced_it_decides(self, coordination: Coordination) -> None:
        """All who are there began after it had gone: what is no longer in their list of events is unbound at once. Not
        while one of them was there with it: it may come back.
        """
        old, new = worker(coordination, OLD), worker(coordination, OLD, NEW)
        new.leave()
        another = worker(coordination, OLD)
        for one in (old, another):
            one.hear()
            assert one.strangers("orders", TYPE) == [NEW]
        old.leave()
        another.leave()
        assert worker(coordination, OLD).strangers("orders", TYPE) == []
        assert len(workers(coordination)) == 1

    def test_of_one_that_was_killed_it_knows_after_some_seconds(self, coordination: Coordination) -> None:
        """Until then it may be alive, and only have begun earlier."""
        killed = worker(coordination, NEW)
        newest = worker(coordination, OLD)
        assert newest.strangers("orders", TYPE) == [NEW]
        silent_for(coordination, killed, 30)
        newest.hear()
        assert newest.strangers("orders", TYPE) == []

    def test_others_take_its_place(self, coordination: Coordination) -> None:
        """Workers that know all that it knew, also by another name; not one that knows an older version."""
        old, new = long_there(coordination, OLD), worker(coordination, NEW)
        older = long_there(coordination, NEW._replace(version=1))
        silent_for(coordination, new, 60)
        older.hear()
        assert new._me in workers(coordination)
        silent_for(coordination, new, -60)
        renamed = worker(coordination, NEW._replace(handler="shop.renamed", aliases=(NEW.handler,)))
        silent_for(coordination, new, 60)
        old.hear()
        assert workers(coordination) == {old._me, older._me, renamed._me}

    def test_after_an_outage_the_others_have_their_say_first(self, coordination: Coordination) -> None:
        """Nobody could say anything meanwhile: whoever does so first unbinds nothing."""
        old, new = long_there(coordination, OLD), worker(coordination, NEW)
        silent_for(coordination, new, 10 * GRACE)
        assert old._said_at is not None
        old._said_at -= 10 * GRACE
        old.refresh()
        assert old.strangers("orders", TYPE) == [NEW]
        old._patient_until = 0.0  # they had
        old.hear()
        assert old.strangers("orders", TYPE) == []


class TestOtherReleases:
    def test_fields_that_this_one_does_not_know(self, coordination: Coordination) -> None:
        """Are left out; and what it cannot read at all is."""
        old, new = worker(coordination, OLD), worker(coordination, NEW)
        said = json.loads(str(coordination.client.hget(KEY, new._me)))
        wrong: list[Any] = [[], [*NEW[:4]], None, "text", {"topic": 1}, [*NEW[:4], "2"], ["\ud800", *NEW[1:5]]]
        wrong += [["t" * 300, *NEW[1:5]], [1, *NEW[1:5]], [*NEW[:5], [7]], ["", *NEW[1:5]], [*NEW[:4], True]]
        said |= {"asked": [*wrong, [*NEW[:6], 4, "more", {}], [*NEW[:6], "4"], [*OTHER[:5], None]], "of": "later"}
        coordination.client.hset(KEY, new._me, json.dumps(said))
        old.hear()
        assert old.strangers("orders", TYPE) == [NEW._replace(newest=4)]
        assert old.strangers("crm", "customer") == [OTHER]
        assert len(old.bindings) == 2

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", "7", '"text"', "null", "{}", '{"at": 1}', '{"at": null, "asked": []}'),
            *('{"at": 1, "asked": 7}', '{"at": NaN, "asked": []}', '{"at": Infinity, "asked": [[]]}'),
            *("[" * 100_000, '{"at": [], "asked": []}'),
        ],
    )
    def test_garbage(self, coordination: Coordination, text: str) -> None:
        """Is as if it were not there."""
        coordination.client.hset(KEY, "someone", text)
        old, _ = worker(coordination, OLD), worker(coordination, NEW)
        old.hear()
        assert old.strangers("orders", TYPE) == [NEW]


class TestNames:
    RENAMED = OLD._replace(handler="shop.renamed", aliases=("shop.first", OLD.handler), version=3)

    def test_a_renamed_handler_is_no_stranger(self, coordination: Coordination) -> None:
        """Neither to those that know its old name, nor they to it."""
        old, new = worker(coordination, OLD), worker(coordination, self.RENAMED)
        old.hear()
        assert old.strangers("orders", TYPE) == new.strangers("orders", TYPE) == []

    def test_to_others_it_is_one_stranger(self, coordination: Coordination) -> None:
        """By the name that all know who know it."""
        worker(coordination, self.RENAMED)
        worker(coordination, OLD)
        assert worker(coordination, NEW).strangers("orders", TYPE) == [OLD]

    def test_who_knows_a_version(self, coordination: Coordination) -> None:
        """The same handler, by any of its names, on the event's topic."""
        old, _ = worker(coordination, OLD), worker(coordination, self.RENAMED, OTHER)
        old.hear()
        assert old.who_knows({OLD.handler}, "orders", TYPE, 3) == self.RENAMED
        assert old.who_knows({OLD.handler}, "orders", TYPE, 4) is None
        worker(coordination, OLD._replace(newest=4))
        old.hear()
        assert old.who_knows({OLD.handler}, "orders", TYPE, 4) == OLD._replace(newest=4)
        assert old.who_knows({OLD.handler}, "crm", TYPE, 2) is None
        assert old.who_knows({NEW.handler}, "orders", TYPE, 2) is None
