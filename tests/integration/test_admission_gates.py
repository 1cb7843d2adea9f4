"""The admission scripts on a real Redis: definitions in force, rates, breakers and pauses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core.admission.client import Parked
from tests.support.admission import LEASE, Gatehouse

SMTP, CRM, RATE, DB, PAUSE = "limit:smtp|", "limit:crm|", "rate:api|", "breaker:db|", "pause:mail|"
ALIVE = 90_000  # milliseconds, as in the scripts


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_smtp=2, limit_crm=1)
    yield house
    house.close()


class TestDefinitions:
    def test_raised_and_lowered_by_an_operator(self, house: Gatehouse) -> None:
        tokens = {"a": house.go("a", CRM)}
        for name in "bcde":
            house.wait(name, CRM)
        house.call(["override", "limit:crm", "3"])
        house.sweep()
        tokens |= house.begin(CRM)
        assert set(tokens) == {"a", "b", "c"}
        house.call(["override", "limit:crm", "1"])
        house.declare(limit_crm=5)  # a deployment does not undo it
        for name in "ab":
            house.end(name, tokens[name], CRM)
        assert (house.taken(), house.held(CRM)) == ([], {"c"})
        house.end("c", tokens["c"], CRM)
        assert house.taken() == ["d"]
        house.call(["override", "limit:crm", False])
        house.sweep()
        assert house.taken() == ["e"]

    def test_of_very_many_keys(self, house: Gatehouse) -> None:
        """Each look at them is bounded: Redis has others to serve."""
        number = 2500
        house.declare(limit_tenant=1)
        house.call(["override", "limit:tenant", "0"])
        house.admission.call_many([["park", str(n), 1, [f"limit:tenant|{n}"], LEASE, f"{n} 1"] for n in range(number)])
        house.sweep()
        house.call(["override", "limit:tenant", False])
        assert house.sweep()[0] == 0  # there is more to do
        looks = 0
        while len(house.grants) < number:
            house.sweep()
            looks += 1
        assert 2 < looks < 100
        assert not house.client.exists("shop:gates:changed")

    def test_none_at_all(self, house: Gatehouse) -> None:
        house.call(["override", "limit:crm", "0"])
        assert house.wait("a", CRM) == CRM
        house.sweep()
        house.call(["override", "limit:crm", None])
        house.sweep()
        assert house.taken() == ["a"]

    def test_the_newest_deployment_s_and_the_older_one_s_once_it_is_gone(self, house: Gatehouse) -> None:
        def in_force() -> str:
            return str(house.client.hget("shop:gates", "limit:crm"))

        house.advance(1_000)
        house.declare(limit_crm=7)
        for _ in range(3):
            house.advance(ALIVE // 2)
            house.declare(limit_crm=7)
            house.declare(limit_crm=1)  # its workers still run
            assert in_force() == "7"
        house.advance(ALIVE // 2)
        house.declare(limit_crm=1)
        assert in_force() == "7"
        house.advance(ALIVE // 2 + 1_000)
        house.declare(limit_crm=1)
        assert in_force() == "1"
        house.declare(limit_crm=7)  # deployed once more: the newest
        assert in_force() == "7"


class TestRate:
    def test_each_waits_for_its_time(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 1")
        house.go("a", RATE)
        for name in "bcd":
            assert house.wait(name, RATE) == RATE
        for name in "bcd":
            house.sweep()
            assert house.taken() == []
            house.advance(5_000)
            house.sweep()
            assert list(house.begin(RATE)) == [name]

    def test_the_next_one_is_looked_for_in_time(self, house: Gatehouse) -> None:
        """Not only when the clock looks by itself: while a grant is on its way, and after it has begun."""
        house.declare(rate_api="5000 1")
        house.go("a", RATE)
        for name in "bc":
            house.wait(name, RATE)
        house.advance(5_000)
        assert 4_000 < house.sweep()[0] <= 5_000
        assert list(house.begin(RATE)) == ["b"]
        assert 4_000 < house.sweep()[0] <= 5_000
        house.advance(4_990)
        house.sweep()
        assert list(house.begin(RATE)) == ["c"]

    def test_one_that_does_not_begin_is_looked_at_ever_less(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 1")
        house.go("a", RATE)
        for name in "bc":
            house.wait(name, RATE)
        house.advance(5_000)
        house.sweep()
        house.call(["sent", [(grant.member, grant.token) for grant in house.grants]])
        house.advance(30_000)
        assert house.sweep()[0] > 20_000

    def test_grants_that_begin_late_do_not_begin_together(self, house: Gatehouse) -> None:
        """A worker that was away: nothing more is granted meanwhile, and the next follows after its interval."""
        house.declare(rate_api="5000 1")
        house.go("a", RATE)
        for name in "bc":
            house.wait(name, RATE)
        house.advance(5_000)
        house.sweep()
        house.call(["sent", [(grant.member, grant.token) for grant in house.grants]])
        house.advance(10_000)
        house.sweep()
        assert list(house.begin(RATE)) == ["b"]
        house.sweep()
        assert house.taken() == []
        house.advance(5_000)
        house.sweep()
        assert list(house.begin(RATE)) == ["c"]

    def test_a_burst_after_a_pause(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 3")
        for name in "abc":
            house.go(name, RATE)
        house.wait("d", RATE)
        house.advance(5_000)
        house.sweep()
        assert house.taken() == ["d"]
        house.advance(60_000)
        for name in "efg":
            house.go(name, RATE)
        house.wait("h", RATE)

    def test_one_that_is_blocked_elsewhere_is_not_counted(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 1")
        house.go("a", CRM)
        assert house.wait("b", CRM, RATE) == CRM
        house.go("c", RATE)

    def test_nothing_stays_for_ever(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 1")
        house.end("a", house.go("a", RATE), RATE)
        assert house.left() == set()
        assert house.client.pttl("shop:gate:state:rate:api|") > 0


class TestBreaker:
    @pytest.fixture(autouse=True)
    def _open(self, house: Gatehouse) -> None:
        house.declare(breaker_db="2 60000")
        for name in "ab":
            house.end(name, house.go(name, DB), DB, result="retry", failed=True)

    def test_it_opens_after_so_many_failures_and_one_probes(self, house: Gatehouse) -> None:
        for name in "cde":
            assert house.wait(name, DB) == DB
        house.sweep()
        assert house.taken() == []
        house.advance(60_001)
        house.sweep()
        began = house.begin(DB)
        assert list(began) == ["c"]
        assert house.wait("f", DB) == DB
        house.end("c", began["c"], DB)
        assert house.taken() == ["d", "e", "f"]

    def test_it_stays_open_if_the_probe_fails(self, house: Gatehouse) -> None:
        house.wait("c", DB)
        house.wait("d", DB)
        house.advance(60_001)
        house.sweep()
        house.end("c", house.begin(DB)["c"], DB, result="retry", failed=True)
        house.sweep()
        assert house.taken() == []
        house.advance(60_001)
        house.sweep()
        assert house.taken() == ["d"]

    def test_a_probe_that_vanished_is_followed_by_another(self, house: Gatehouse) -> None:
        house.advance(60_001)
        house.go("c", DB)
        house.wait("d", DB)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.taken() == ["d"]

    def test_a_success_in_between_starts_the_count_again(self, house: Gatehouse) -> None:
        house.advance(60_001)
        house.end("c", house.go("c", DB), DB)
        house.end("d", house.go("d", DB), DB, result="retry", failed=True)
        house.end("e", house.go("e", DB), DB)
        house.end("f", house.go("f", DB), DB, result="retry", failed=True)
        house.end("g", house.go("g", DB), DB)
        assert house.left() == set()


class TestPause:
    def test_many_that_were_parked_go_on_in_order(self, house: Gatehouse) -> None:
        house.declare(limit_smtp=1000)
        house.call(["pause", "mail"])
        names = [f"m{number}" for number in range(250)]
        for name in names:
            assert house.wait(name, PAUSE, SMTP) == PAUSE
        assert house.sweep()[1] == 250
        assert house.taken() == []
        house.call(["resume", "mail"])
        taken = house.taken()
        while house.sweep()[0] == 0:
            taken += house.taken()
        assert taken + house.taken() == names

    def test_a_grant_covers_the_gates_of_one_that_is_not_paused_any_more(self, house: Gatehouse) -> None:
        """The rate has counted it once."""
        house.declare(rate_api="5000 1")
        house.call(["pause", "mail"])
        house.wait("a", PAUSE, CRM, RATE)
        house.call(["resume", "mail"])
        began = house.begin(CRM, RATE)
        house.end("a", began["a"], CRM, RATE)
        assert house.left() == set()

    def test_paused_again_before_the_grant_begins(self, house: Gatehouse) -> None:
        house.go("a", CRM)
        house.wait("b", CRM)
        house.call(["evict", "a", CRM])
        house.call(["pause", "mail"])
        (grant,) = house.take()
        assert isinstance(house.acquire("b", 1, [PAUSE, CRM], LEASE, token=grant.token), Parked)
        assert house.held(CRM) == set()
        house.call(["resume", "mail"])
        assert list(house.begin(PAUSE, CRM)) == ["b"]


def test_settled_by_force_wherever_it_is(house: Gatehouse) -> None:
    """One that was revoked while it waited, and one that runs."""
    token = house.go("a", CRM)
    house.wait("b", CRM)
    house.wait("c", CRM)
    house.call(["settle", "b", [], "dead"])
    assert house.waiting(CRM) == ["c"]
    house.call(["settle", "a", [CRM], "dead"])
    assert not house.renew("a", token, [CRM], LEASE)
    house.end("c", house.begin(CRM)["c"], CRM)
    assert house.left() == set()


def test_several_operations_share_a_round_trip(house: Gatehouse) -> None:
    house.admission.later(["declare", {"limit:late": "1"}])
    replies = house.admission.call_many([["acquire", name, 1, ["limit:late|"], LEASE, 0] for name in "ab"])
    assert replies == [["go", 1, 0], ["blocked", "limit:late|"]]
    assert house.admission.call_many([]) == []
