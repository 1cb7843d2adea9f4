"""What is granted to a caller that has room for it begins in the same step, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core.admission.client import FIRST_LEASE, Grant, Parked, source
from tests.support.admission import LEASE, Gatehouse

CRM, RATE, DB, ORDER, GROUP, PAUSE = "limit:crm|", "rate:api|", "breaker:db|", "order:h|1", "group:g|", "pause:mail|"


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_crm=1, order_h="continue", rate_api="5000 1")
    yield house
    house.close()


def room(house: Gatehouse, places: int) -> None:
    house.admission.room = lambda: places


def begun(house: Gatehouse) -> Grant:
    """The only one that was granted; it has begun."""
    (grant,) = house.take()
    assert grant.unfinished is not None
    return grant


def hand_over(house: Gatehouse, *gates: str) -> Grant:
    """a ends, and b, which waits at the first of the gates, has begun."""
    token = house.go("a", CRM)
    house.wait("b", CRM, *gates)
    room(house, 1)
    house.end("a", token, CRM)
    return begun(house)


def test_it_has_begun(house: Gatehouse) -> None:
    grant = hand_over(house)
    assert (grant.member, grant.message, grant.gates, grant.unfinished) == ("b", "b 1", [CRM], 0)
    assert house.held(CRM) == {"b"}
    assert house.info("b")["state"] == "running"
    assert house.renew("b", grant.token, [CRM], LEASE)
    house.end("b", grant.token, CRM)
    assert house.left() == set()


def test_as_many_as_there_is_room_for(house: Gatehouse) -> None:
    house.define({"limit:crm": "3"})
    tokens = [house.go(name, CRM) for name in "abc"]
    for name in "def":
        house.wait(name, CRM)
    room(house, 2)
    ends = zip("abc", tokens, strict=True)
    house.admission.call_many([["release", name, 1, token, [CRM], "done", 0] for name, token in ends])
    assert [(grant.member, grant.unfinished) for grant in house.take()] == [("d", 0), ("e", 0), ("f", None)]


def test_its_first_lease_is_short(house: Gatehouse) -> None:
    """Whoever was granted it may not have heard so: it waits again at its old place, and counts as begun once."""
    hand_over(house)
    house.wait("c", CRM)
    house.advance(FIRST_LEASE - 1_000)
    house.sweep()
    assert house.take() == []
    house.advance(1_001)
    house.sweep()
    again = begun(house)
    assert (again.member, again.unfinished) == ("b", 1)


def test_the_first_lease_is_that_of_the_script() -> None:
    assert f"local GRANT = {FIRST_LEASE} --" in source()


class TestPassedOn:
    """Whoever was granted it cannot run it."""

    def pass_on(self, house: Gatehouse, grant: Grant) -> bool:
        room(house, 0)
        return bool(house.call(["pass_on", grant.member, grant.token]))

    def test_it_begins_where_its_message_comes(self, house: Gatehouse) -> None:
        grant = hand_over(house)
        assert self.pass_on(house, grant)
        assert not house.renew("b", grant.token + 1, [CRM], LEASE)
        assert house.held(CRM) == {"b"}
        house.call(["sent", [("b", grant.token)]])
        house.advance(FIRST_LEASE + 1)
        house.sweep()
        assert house.take() == []  # it is on its way
        assert house.go("b", CRM, token=grant.token) == grant.token
        house.end("b", grant.token, CRM)
        assert house.left() == set()

    def test_that_was_no_beginning(self, house: Gatehouse) -> None:
        grant = hand_over(house)
        self.pass_on(house, grant)
        house.advance(FIRST_LEASE + 1)
        room(house, 1)
        house.sweep()
        assert begun(house).unfinished == 0

    def test_with_other_gates_it_waits_at_those(self, house: Gatehouse) -> None:
        """Its handler was paused since it was parked."""
        grant = hand_over(house)
        self.pass_on(house, grant)
        house.call(["pause", "mail"])
        assert isinstance(house.acquire("b", 1, [PAUSE, CRM], LEASE, token=grant.token), Parked)
        assert house.waiting(PAUSE) == ["b"]
        assert house.held(CRM) == set()

    def test_only_once(self, house: Gatehouse) -> None:
        """Said twice, or after its lease has ended, it must not be published: that would be another message of it."""
        grant = hand_over(house)
        assert self.pass_on(house, grant)
        assert not self.pass_on(house, grant)
        house.advance(FIRST_LEASE + 1)
        room(house, 1)
        house.sweep()
        again = begun(house)
        assert not self.pass_on(house, grant)
        house.end("b", again.token, CRM)
        assert not self.pass_on(house, again)

    def test_a_rate_counts_it_once_and_grants_no_other_meanwhile(self, house: Gatehouse) -> None:
        grant = hand_over(house, RATE)
        assert self.pass_on(house, grant)
        house.wait("c", RATE)
        house.advance(20_000)
        house.call(["sent", [("b", grant.token)]])
        room(house, 1)
        house.sweep()
        assert house.take() == []
        house.go("b", CRM, RATE, token=grant.token)
        house.advance(5_000)
        house.sweep()
        assert begun(house).member == "c"


class TestGates:
    def test_a_rate_counts_it_once(self, house: Gatehouse) -> None:
        house.define({"rate:api": "2000 1"})
        grant = hand_over(house, RATE)
        house.wait("c", RATE)
        house.advance(2_000)
        house.sweep()
        assert begun(house).member == "c"
        assert house.held(RATE) == set()
        house.end("b", grant.token, CRM, RATE)

    def test_the_probe_of_a_breaker(self, house: Gatehouse) -> None:
        house.define({"breaker:db": "1 10000"})
        house.end("a", house.go("a", DB), DB, failed=True)
        house.wait("b", DB)
        house.wait("c", DB)
        house.advance(10_000)
        room(house, 5)
        house.sweep()
        probe = begun(house)
        assert probe.member == "b"
        house.end("b", probe.token, DB)
        assert begun(house).member == "c"

    def test_an_order_is_kept_for_its_retry(self, house: Gatehouse) -> None:
        room(house, 5)
        for name in "ab":
            house.enter(name, ORDER)
        first = begun(house)
        house.end("a", first.token, ORDER, result="retry")
        assert house.take() == []
        house.end("a", house.go("a", ORDER, run=2), ORDER)
        assert begun(house).member == "b"

    def test_of_a_group_that_was_cancelled_nothing_begins(self, house: Gatehouse) -> None:
        """However much of it `cancel` has come to: the rest is cancelled when its turn comes."""
        assert house.call(["open", "g", 1, 60_000, {"name": "report"}])
        for name in "abc":
            house.enter(name, GROUP, group="g")
        began = house.begin(GROUP)
        house.client.hset("shop:group:g", "stopped", 1)
        room(house, 5)
        house.end("a", began["a"], GROUP)
        assert house.take() == []
        assert house.client.hget("shop:group:g", "cancelled") == "2"
        house.client.delete("shop:group:g")
        house.client.hdel("shop:gates", "group:g")
        assert house.left() == {"groups:open"}


def line_up(house: Gatehouse, *members: str, gates: tuple[str, ...] = (CRM,)) -> list[object]:
    """All of them in one step."""
    return house.admission.call_many([["line_up", name, 1, list(gates), f"{name} 1"] for name in members])


def test_those_that_line_up_begin_as_far_as_there_is_room(house: Gatehouse) -> None:
    """Here, and elsewhere; in their order. The others wait behind them."""
    house.define({"limit:crm": "3"})
    room(house, 2)
    assert line_up(house, *"abcde") == ["granted", "granted", "granted", "waits", "waits"]
    granted = house.take()
    assert [(grant.member, grant.unfinished) for grant in granted] == [("a", 0), ("b", 0), ("c", None)]
    assert house.held(CRM) == {"a", "b", "c"}
    house.end("b", granted[1].token, CRM)
    assert begun_now(house) == ["d"]
    for member, token in (("a", granted[0].token), ("c", house.go("c", CRM, token=granted[2].token))):
        house.end(member, token, CRM)


def begun_now(house: Gatehouse) -> list[str]:
    return [grant.member for grant in house.take() if grant.unfinished is not None]


@pytest.mark.parametrize("gates", [(CRM,), (RATE,), (DB,), (ORDER, CRM), (CRM, RATE)], ids=str)
def test_one_that_lines_up_alone_begins_and_leaves_nothing(house: Gatehouse, gates: tuple[str, ...]) -> None:
    house.define({"breaker:db": "5 60000"})
    room(house, 1)
    assert line_up(house, "a", gates=gates) == ["granted"]
    grant = begun(house)
    assert (grant.message, grant.gates, grant.unfinished) == ("a 1", [*gates], 0)
    house.end("a", grant.token, *gates)
    assert house.left() == set()


def test_one_of_an_order_lines_up_behind_the_others(house: Gatehouse) -> None:
    room(house, 3)
    assert line_up(house, *"abc", gates=(ORDER,)) == ["granted", "waits", "waits"]
    for name in "ab":
        grant = begun(house)
        assert grant.member == name
        house.end(name, grant.token, ORDER)


def test_one_that_lines_up_does_not_overtake(house: Gatehouse) -> None:
    """A lease has ended, and nobody has looked since: the place is for who waits."""
    house.go("a", CRM)
    house.wait("b", CRM)
    house.advance(LEASE + 1)
    room(house, 5)
    assert line_up(house, "c") == ["waits"]


@pytest.mark.parametrize("gate", [CRM, ORDER], ids=str)
def test_one_that_is_known_does_not_line_up(house: Gatehouse, gate: str) -> None:
    """Its copy runs, or waits: it asks for itself, and is told so."""
    house.go("a", gate)
    house.wait("b", gate)
    assert line_up(house, "a", "b", gates=(gate,)) == ["asks", "asks"]
    assert line_up(house, "c", gates=("limit:nobody|",)) == ["asks"], "nobody has told Redis of that limit"
