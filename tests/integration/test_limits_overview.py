"""What is shown of limits: definitions, holders, waiters and pauses, as a real Redis keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from events_core.coordination import Coordination
from events_worker.limits import steering
from events_worker.limits.definitions import Definition, known_definitions
from events_worker.limits.overview import GateInUse, gates_in_use, gates_of, holder_of, paused_handlers
from tests.support.admission import PREFIX, Gatehouse
from tests.support.waiting import wait_until

SMTP, ALL = "limit:smtp|", ("limit", "rate", "breaker", "order")


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_smtp=2, limit_tenant=1, rate_api="100 1", breaker_db="2 60000")
    house.call(["declare", {"order:mail": "continue"}])
    yield house
    house.close()


@pytest.fixture
def kept(house: Gatehouse) -> Coordination:
    return Coordination(house.client, PREFIX)


def shown(kept: Coordination, most: int | None = None) -> dict[str, GateInUse]:
    found = gates_in_use(kept, ALL, most).gates
    return {f"{gate.kind}:{gate.name}|{gate.key}": gate for gate in found}


class TestHolders:
    def test_one_that_runs_has_an_age_a_worker_and_a_lease(self, house: Gatehouse, kept: Coordination) -> None:
        house.go("a", SMTP)
        house.advance(10_000)
        gate = shown(kept)[SMTP]
        assert (gate.kind, gate.name, gate.key, gate.held, gate.waiting, gate.oldest_wait) == (
            "limit", "smtp", "", 1, 0, None,
        )  # fmt: skip
        [holder] = gate.holders
        assert (holder.delivery, holder.state) == ("a", "running")
        assert holder.worker is not None
        assert holder.worker.endswith(f":{os.getpid()}")
        assert holder.age is not None
        assert 0 <= holder.age < 15
        assert holder.lease_left is not None
        assert 5 < holder.lease_left <= 20
        assert holder_of(kept, SMTP, "a") is not None
        assert holder_of(kept, SMTP, "b") is None

    def test_one_that_was_granted_is_on_its_way_until_it_begins(self, house: Gatehouse, kept: Coordination) -> None:
        tokens = [house.go(name, SMTP) for name in "ab"]
        house.wait("c", SMTP)
        house.end("a", tokens[0], SMTP)
        [granted] = [holder for holder in shown(kept)[SMTP].holders if holder.delivery == "c"]
        assert (granted.state, granted.worker, granted.age) == ("on its way", None, None)
        assert granted.lease_left is not None
        assert 0 < granted.lease_left <= 30
        house.begin(SMTP)
        [begun] = [holder for holder in shown(kept)[SMTP].holders if holder.delivery == "c"]
        assert begun.state == "running"
        assert begun.worker is not None

    def test_the_place_in_an_order_is_kept_for_a_retry_and_while_waiting_elsewhere(
        self, house: Gatehouse, kept: Coordination
    ) -> None:
        mail, ledger = "order:mail|7", "order:mail|8"
        house.end("a", house.go("a", mail), mail, result="retry")
        for name in "xy":
            house.go(name, SMTP)
        house.wait("b", ledger, SMTP)
        found = shown(kept)
        assert [holder.state for holder in found[mail].holders] == ["waiting for its retry"]
        assert [holder.state for holder in found[ledger].holders] == ["waiting at limit:smtp"]
        assert found[ledger].holders[0].lease_left is None

    def test_a_released_one_leaves_nothing(self, house: Gatehouse, kept: Coordination) -> None:
        house.end("a", house.go("a", SMTP), SMTP)
        assert shown(kept) == {}
        assert house.client.hlen(f"{PREFIX}gates:tokens") == 0


class TestWaiters:
    def test_how_many_and_how_long_the_first_has_waited(self, house: Gatehouse, kept: Coordination) -> None:
        house.go("a", "limit:tenant|x")
        for name in "bcd":
            house.wait(name, "limit:tenant|x")
        gate = shown(kept)["limit:tenant|x"]
        assert (gate.key, gate.held, gate.waiting) == ("x", 1, 3)

        def grown() -> bool:
            later = shown(kept)["limit:tenant|x"].oldest_wait
            assert later is not None
            assert gate.oldest_wait is not None
            return later > gate.oldest_wait >= 0

        wait_until(grown, what="the wait to grow")

    def test_moving_to_another_gate_is_one_wait_beginning_ends_it(self, house: Gatehouse) -> None:
        token = house.go("a", "limit:tenant|x")
        others = [house.go(name, SMTP) for name in "bc"]
        house.wait("d", "limit:tenant|x", SMTP)
        since = house.info("d")["since"]
        house.end("a", token, "limit:tenant|x")
        assert house.info("d")["at"] == SMTP
        assert house.info("d")["since"] == since
        house.end("b", others[0], SMTP)
        assert house.info("d")["since"] == since
        house.begin("limit:tenant|x", SMTP)
        assert "since" not in house.info("d")

    def test_of_many_keys_those_with_waiters_come_first_and_all_are_counted(
        self, house: Gatehouse, kept: Coordination
    ) -> None:
        for key in range(30):
            house.go(f"h{key}", f"limit:tenant|{key}")
        for waiter, key in enumerate((5, 17, 17)):
            house.wait(f"w{waiter}", f"limit:tenant|{key}")
        found = gates_in_use(kept, ALL, 3)
        assert [gate.key for gate in found.gates][:2] == ["17", "5"]
        assert len(found.gates) == 3
        assert (found.keys["limit:tenant"], found.waiting["limit:tenant"]) == (30, 3)
        assert len(gates_in_use(kept, ALL, None).gates) == 30
        assert len(list(gates_of(kept, "limit:tenant"))) == 30
        assert list(gates_of(kept, "limit:ten")) == []

    def test_more_keys_than_one_look_reads(self, house: Gatehouse, kept: Coordination) -> None:
        gates = [f"limit:tenant|{key}" for key in range(1200)]
        house.admission.call_many([["acquire", gate, 1, [gate], 30_000, 0] for gate in gates])
        found = gates_in_use(kept, ALL, None)
        assert {f"limit:tenant|{gate.key}" for gate in found.gates} == set(gates)
        assert all(gate.holders[0].delivery == f"limit:tenant|{gate.key}" for gate in found.gates)

    def test_for_a_paused_handler(self, house: Gatehouse, kept: Coordination) -> None:
        steering.pause(house.admission, "mail")
        house.wait("a", "pause:mail|")
        assert paused_handlers(kept) == {"mail": 1}
        steering.resume(house.admission, "mail")
        assert paused_handlers(kept) == {}
        assert house.taken() == ["a"]


class TestDefinitions:
    def test_what_is_in_force_and_what_the_code_says(self, house: Gatehouse, kept: Coordination) -> None:
        steering.set_limit(house.admission, "smtp", 7)
        found = known_definitions(kept, {"limit:smtp": "3", "limit:new": "4"})
        assert [(each.kind, each.name) for each in found] == [
            ("limit", "new"), ("limit", "smtp"), ("limit", "tenant"), ("rate", "api"), ("breaker", "db"),
            ("order", "mail"),
        ]  # fmt: skip
        new, smtp, tenant, *_ = found
        assert new == Definition("limit", "new", in_code="4")
        assert smtp == Definition("limit", "smtp", in_force="7", overridden=True, in_code="2")  # the workers', not ours
        assert (smtp.max, new.max, tenant.max, found[3].max, found[5].max) == (7, None, 1, None, 1)
        steering.unset_limit(house.admission, "smtp")
        assert known_definitions(kept, {})[0] == Definition("limit", "smtp", in_force="2", in_code="2")

    def test_of_two_deployments_the_newer_is_the_code(self, house: Gatehouse, kept: Coordination) -> None:
        house.advance(1000)
        house.declare(limit_smtp=5)
        house.declare(limit_smtp=2)  # a worker of the older one still runs
        steering.set_limit(house.admission, "smtp", 9)
        assert known_definitions(kept, {})[0].in_code == "5"
        house.advance(100_000)
        assert known_definitions(kept, {"limit:smtp": "6"})[0].in_code == "6"

    def test_what_a_breaker_does(self, house: Gatehouse, kept: Coordination) -> None:
        def state() -> str | None:
            return next(each.breaker for each in known_definitions(kept, {}) if each.kind == "breaker")

        assert state() == "closed"
        house.end("a", house.go("a", "breaker:db|"), "breaker:db|", failed=True)
        assert state() == "closed, 1 failed in a row"
        house.end("b", house.go("b", "breaker:db|"), "breaker:db|", failed=True)
        text = state()
        assert text is not None
        assert text.startswith("open, probes in ")
        house.advance(61_000)
        assert state() == "open, probes"

    def test_groups_are_no_limits(self, house: Gatehouse, kept: Coordination) -> None:
        house.client.hset(f"{PREFIX}gates", "group:1", "5")
        assert {each.kind for each in known_definitions(kept, {})} == set(ALL)


class TestEvict:
    def test_the_place_goes_to_the_next_and_what_was_parked_of_it_waits_again(self, house: Gatehouse) -> None:
        tenant = "limit:tenant|"
        house.go("a", tenant)
        house.wait("b", tenant)
        assert not steering.evict(house.admission, tenant, "b")
        assert steering.evict(house.admission, tenant, "a")
        house.wait("c", tenant)
        assert list(house.begin(tenant)) == ["b"]
        assert steering.evict(house.admission, tenant, "b")
        assert house.taken() == ["b"]  # it was first, and is again


def test_what_an_operator_granted_is_said_to_be_sent(house: Gatehouse) -> None:
    """The process of a command does not live to say so with its next operation."""
    tenant = "limit:tenant|"
    house.go("a", tenant)
    house.wait("b", tenant)
    house.admission.hand_on = lambda grants: house.admission.later(
        ["sent", [(grant.member, grant.token) for grant in grants]]
    )
    steering.evict(house.admission, tenant, "a")
    granted = house.client.zscore(f"{PREFIX}gates:granted", "b")
    assert granted is not None
    seconds, _ = house.client.time()  # type: ignore[misc]
    assert float(granted) - seconds * 1000 > 1_000_000  # an hour, not half a minute
