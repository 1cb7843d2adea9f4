"""The admission scripts on a real Redis: limits, and what happens when someone vanishes or comes twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core.admission.client import Blocked, Go, Parked, Stale, Undeclared
from tests.support.admission import LEASE, Gatehouse

SMTP, CRM, RATE, DB = "limit:smtp|", "limit:crm|", "rate:api|", "breaker:db|"
GRANT, ON_ITS_WAY = 5_000, 3_600_000  # milliseconds, as in the scripts


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_smtp=2, limit_crm=1)
    yield house
    house.close()


class TestLimit:
    def test_never_more_than_its_places_and_the_longest_waiter_first(self, house: Gatehouse) -> None:
        tokens = [house.go(name, SMTP) for name in "ab"]
        assert [house.wait(name, SMTP) for name in "cde"] == [SMTP] * 3
        house.end("a", tokens[0], SMTP)
        assert house.held(SMTP) == {"b", "c"}
        house.end("b", tokens[1], SMTP)
        began = house.begin(SMTP)
        assert list(began) == ["c", "d"]
        house.end("d", began["d"], SMTP)
        assert house.taken() == ["e"]
        assert house.held(SMTP) == {"c", "e"}

    def test_a_newcomer_does_not_overtake(self, house: Gatehouse) -> None:
        """Room was made, but nobody has looked yet: who waits comes first."""
        house.go("a", CRM)
        house.wait("b", CRM)
        house.declare(limit_crm=2)
        assert house.wait("c", CRM) == CRM
        assert house.taken() == ["b"]  # the newcomer has them looked after

    def test_keys_have_places_of_their_own(self, house: Gatehouse) -> None:
        token = house.go("a", "limit:crm|1")
        house.go("b", "limit:crm|2")
        assert house.wait("c", "limit:crm|1") == "limit:crm|1"
        house.end("a", token, "limit:crm|1")
        assert house.taken() == ["c"]

    def test_a_key_may_be_any_text(self, house: Gatehouse) -> None:
        gate = "limit:crm|a|b:ü '\"\n\\ %s|"
        token = house.go("a", gate)
        assert house.wait("b", gate) == gate
        house.end("a", token, gate)
        began = house.begin(gate)
        house.end("b", began["b"], gate)
        assert house.left() == set()

    def test_one_that_nobody_declares_is_told(self, house: Gatehouse) -> None:
        with pytest.raises(Undeclared, match="limit:unknown"):
            house.go("a", SMTP, "limit:unknown|4")
        assert house.held(SMTP) == set()

    def test_nothing_is_left_at_the_end(self, house: Gatehouse) -> None:
        tokens = {name: house.go(name, SMTP, CRM) for name in "a"}
        for name in "bcd":
            house.wait(name, SMTP, CRM)
        while tokens:
            for member, token in tokens.items():
                house.end(member, token, SMTP, CRM)
            tokens = house.begin(SMTP, CRM)
        assert house.sweep() == (-1, 0)
        assert house.left() == set()


class TestSeveralGates:
    def test_all_or_none_and_it_waits_at_the_one_that_blocks(self, house: Gatehouse) -> None:
        house.go("a", CRM)
        assert house.wait("b", SMTP, CRM) == CRM
        assert house.held(SMTP) == set()
        house.go("c", SMTP)
        house.go("d", SMTP)

    def test_it_moves_on_to_the_next_that_blocks_and_keeps_its_place(self, house: Gatehouse) -> None:
        one = house.go("a", CRM)
        house.wait("b", SMTP, CRM)
        two = house.go("c", SMTP)
        house.go("d", SMTP)
        house.wait("e", SMTP)
        house.end("a", one, CRM)
        assert (house.waiting(SMTP), house.held(CRM)) == (["b", "e"], set())
        house.end("c", two, SMTP)
        assert house.taken() == ["b"]

    def test_nobody_is_overtaken_at_any_of_them(self, house: Gatehouse) -> None:
        """One release frees two gates; who waited longer at one of them gets it, whichever is looked at first."""
        for number in range(8):  # in which order is a matter of luck
            one, two = f"limit:one{number}|", f"limit:two{number}|"
            house.declare(**{f"limit_one{number}": 1, f"limit_two{number}": 1})
            token = house.go("a", one, two)
            house.wait("b", two)
            assert house.wait("c", one, two) == one
            house.end("a", token, one, two)
            assert house.taken() == ["b"]
            house.call(["settle", "b", [], "done"])
            assert house.taken() == ["c"]
            house.call(["settle", "c", [], "done"])

    def test_one_that_is_blocked_elsewhere_does_not_hold_up_those_behind_it(self, house: Gatehouse) -> None:
        tokens = [house.go("a", SMTP), house.go("b", SMTP)]
        house.wait("c", SMTP, CRM)
        house.wait("d", SMTP)
        house.go("e", CRM)
        house.end("a", tokens[0], SMTP)
        assert house.taken() == ["d"]
        assert house.waiting(CRM) == ["c"]


class TestLeases:
    def test_who_does_not_renew_loses_its_place_and_token(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        house.advance(LEASE - 1_000)
        assert house.renew("a", token, [CRM], LEASE)
        house.advance(LEASE - 1_000)
        house.sweep()
        assert house.taken() == []
        house.advance(1_001)
        house.sweep()
        assert list(house.begin(CRM)) == ["b"]
        assert not house.renew("a", token, [CRM], LEASE)
        assert not house.release("a", token, [CRM], "done", failed=False)
        assert house.held(CRM) == {"b"}

    def test_a_newcomer_finds_the_place_of_one_that_vanished(self, house: Gatehouse) -> None:
        house.go("a", CRM)
        house.advance(LEASE + 1)
        house.go("b", CRM)
        assert house.held(CRM) == {"b"}

    def test_a_parked_one_waits_again_at_its_old_place(self, house: Gatehouse) -> None:
        one = house.go("a", CRM)
        house.wait("b", CRM)
        house.wait("c", CRM)
        house.end("a", one, CRM)
        two = house.begin(CRM)["b"]
        house.advance(LEASE + 1)
        house.sweep()
        member, three, message, *_ = house.take()[0]
        assert (member, message) == ("b", "b 1")
        assert three > two
        answer = house.acquire("b", 1, [CRM], LEASE, token=three)
        assert answer == Go(three, unfinished=1)
        assert not house.release("b", two, [CRM], "done", failed=False)
        house.end("b", three, CRM)
        assert house.taken() == ["c"]

    @pytest.mark.parametrize("found_by", ["sweep", "newcomer", "evict", "waker"])
    def test_nor_is_it_overtaken_if_that_is_not_its_first_gate(self, house: Gatehouse, found_by: str) -> None:
        other = house.go("x", CRM)
        house.wait("a", SMTP, CRM)
        house.wait("b", CRM)
        house.wait("d", CRM)
        house.end("x", other, CRM)
        house.begin(SMTP, CRM)
        if found_by == "evict":
            house.call(["evict", "a", CRM])
        else:
            house.advance(LEASE + 1)
            if found_by == "sweep":
                house.sweep()
            elif found_by == "newcomer":
                house.wait("c", CRM)
            else:  # whoever wakes that gate, here by giving up one that waits there
                house.call(["settle", "d", [CRM], "dead"])
        assert house.taken() == ["a"]

    def test_a_direct_one_leaves_nothing(self, house: Gatehouse) -> None:
        house.go("a", SMTP, CRM)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.left() == set()

    def test_one_that_waits_is_not_disturbed_by_what_it_left_at_other_gates(self, house: Gatehouse) -> None:
        """The end of its lease is found at one gate; at the others not before it waits again."""
        gates = ["limit:wide|", SMTP, CRM]
        house.declare(limit_wide=5)
        house.go("a", *gates)
        house.advance(LEASE + 1)
        house.go("b", CRM)
        assert house.held(SMTP) == {"a"}
        assert house.wait("a", *gates) == CRM
        house.sweep()
        assert [house.waiting(gate) for gate in gates] == [[], [], ["a"]]
        assert [house.held(gate) for gate in gates] == [set(), set(), {"b"}]

    @pytest.mark.parametrize("gate", [RATE, DB])
    def test_gates_that_keep_no_lease_have_one_too(self, house: Gatehouse, gate: str) -> None:
        """A rate or a closed breaker knows no holders; a run that vanishes is noticed all the same."""
        house.declare(rate_api="10 10", breaker_db="5 60000")
        house.go("a", gate)
        assert house.wait("a", gate) == ""  # its copy, delivered again
        house.advance(LEASE + 1)
        house.sweep()
        began = house.begin(gate)
        assert list(began) == ["a"]
        house.advance(LEASE - 1_000)
        assert house.renew("a", began["a"], [gate], LEASE)
        house.advance(LEASE - 1_000)
        assert house.sweep()[0] > 0
        assert house.taken() == []
        house.advance(1_001)
        house.sweep()
        house.end("a", house.begin(gate)["a"], gate)
        assert house.left() == set()

    def test_one_evicted_at_one_gate_gives_up_the_others_when_it_comes_again(self, house: Gatehouse) -> None:
        house.go("a", SMTP, CRM)
        house.call(["evict", "a", CRM])
        house.go("b", CRM)
        assert house.wait("a", SMTP, CRM) == CRM
        assert house.held(SMTP) == set()

    def test_and_when_it_is_parked_before_it_asks(self, house: Gatehouse) -> None:
        house.go("a", SMTP, CRM)
        house.call(["evict", "a", CRM])
        house.go("b", CRM)
        assert house.call(["line_up", "a", 1, [SMTP, CRM], "a 1"]) == "waits"
        assert house.held(SMTP) == set()

    def test_evicting_a_holder(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        assert not house.call(["evict", "b", CRM])
        assert house.call(["evict", "a", CRM])
        assert not house.renew("a", token, [CRM], LEASE)
        began = house.begin(CRM)
        assert list(began) == ["b"]
        house.wait("c", CRM)
        assert house.call(["evict", "b", CRM])
        assert house.taken() == ["b"]  # it was parked: it waits again, before those behind it


class TestGrants:
    def test_one_that_nobody_published_waits_again_at_its_old_place(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        house.wait("c", CRM)
        house.end("a", token, CRM)
        (lost,) = house.take()
        house.advance(GRANT - 1_000)
        house.sweep()
        assert house.taken() == []
        house.advance(1_001)
        house.sweep()
        (again,) = house.take()
        assert (again.member, again.message) == ("b", "b 1")
        assert isinstance(house.acquire("b", 1, [CRM], LEASE, token=lost.token), Parked)
        assert house.acquire("b", 1, [CRM], LEASE, token=again.token) == Go(again.token, unfinished=0)

    def test_a_lost_one_frees_all_that_it_held(self, house: Gatehouse) -> None:
        token = house.go("a", SMTP, CRM)
        house.wait("b", SMTP, CRM)
        house.wait("c", CRM)
        house.end("a", token, SMTP, CRM)
        assert house.taken() == ["b"]
        house.call(["override", "limit:smtp", "0"])
        house.advance(GRANT + 1)
        house.sweep()
        assert house.taken() == ["c"]

    def test_one_that_was_published_has_time_to_begin(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        house.end("a", token, CRM)
        (grant,) = house.take()
        house.call(["sent", [("b", grant.token - 1)]])  # of an earlier grant: it says nothing of this one
        assert house.sweep()[0] <= GRANT
        house.call(["sent", [("b", grant.token)]])
        house.advance(GRANT + 1)
        assert house.sweep()[0] <= ON_ITS_WAY - GRANT
        assert house.taken() == []
        house.advance(ON_ITS_WAY)
        house.sweep()
        assert house.taken() == ["b"]

    def test_sent_comes_too_late_for_one_that_has_begun(self, house: Gatehouse) -> None:
        house.declare(rate_api="5000 1")
        house.go("a", RATE)
        house.wait("b", RATE)
        house.advance(5_001)
        house.sweep()
        token = house.begin(RATE)["b"]
        house.call(["sent", [("b", token)]])
        house.advance(LEASE + 1_000)
        house.sweep()
        assert house.taken() == ["b"]

    def test_the_sweep_says_when_to_look_again(self, house: Gatehouse) -> None:
        assert house.sweep() == (-1, 0)
        house.declare(rate_api="5000 1")
        token = house.go("a", RATE)
        house.wait("b", RATE)
        assert 0 < house.sweep()[0] <= 5_000
        house.end("a", token, RATE)
        house.advance(5_001)
        house.sweep()
        assert house.taken() == ["b"]
        assert GRANT - 1_000 < house.sweep()[0] <= GRANT

    def test_a_sweep_that_is_late_is_due_now(self, house: Gatehouse) -> None:
        """Not -1, which means never."""
        house.go("a", CRM)
        house.client.zadd("shop:gates:due", {f"limit:crm|{number}": 1 for number in range(150)})
        assert house.sweep()[0] == 0


class TestRepeats:
    def test_of_one_that_runs(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        assert isinstance(house.acquire("a", 1, [CRM], LEASE), Blocked)
        assert isinstance(house.park("a", 1, [CRM], LEASE, "a 1"), Parked)
        assert house.renew("a", token, [CRM], LEASE)
        house.end("a", token, CRM)
        assert house.taken() == []
        assert house.left() == set()

    def test_of_an_earlier_run_of_one_that_runs(self, house: Gatehouse) -> None:
        """Kept behind the present run, it would make that one seem older than a repeat of it, which would begin too."""
        token = house.go("a", CRM, run=2)
        assert isinstance(house.acquire("a", 1, [CRM], LEASE), Blocked)
        assert isinstance(house.park("a", 1, [CRM], LEASE, "a 1"), Stale)
        assert isinstance(house.acquire("a", 2, [CRM], LEASE), Blocked)
        assert isinstance(house.park("a", 2, [CRM], LEASE, "a 2"), Parked)
        assert house.renew("a", token, [CRM], LEASE)
        house.end("a", token, CRM)
        assert house.taken() == []
        assert house.left() == set()

    def test_of_one_that_vanished(self, house: Gatehouse) -> None:
        """It waits behind its own lease, before those that came while it ran."""
        house.go("a", CRM)
        house.wait("b", CRM)
        house.wait("a", CRM)
        house.advance(LEASE + 1)
        house.sweep()
        (grant,) = house.take()
        assert grant.member == "a"
        assert house.acquire("a", 1, [CRM], LEASE, token=grant.token) == Go(grant.token, unfinished=1)

    def test_of_one_that_waits_and_of_one_on_its_way(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        assert isinstance(house.acquire("b", 1, [CRM], LEASE), Parked)
        assert isinstance(house.park("b", 1, [CRM], LEASE, "b 1"), Parked)
        assert house.waiting(CRM) == ["b"]
        house.end("a", token, CRM)
        assert isinstance(house.acquire("b", 1, [CRM], LEASE), Parked)
        assert list(house.begin(CRM)) == ["b"]
        assert isinstance(house.acquire("b", 1, [CRM], LEASE), Parked)

    def test_of_one_that_redis_has_forgotten(self, house: Gatehouse) -> None:
        """Redis was emptied while a grant was on its way in another broker: its message is the last there is."""
        token = house.go("a", CRM)
        house.wait("b", CRM)
        house.end("a", token, CRM)
        (grant,) = house.take()
        house.client.flushdb()
        house.declare(limit_crm=1)
        assert isinstance(house.acquire("b", 1, [CRM], LEASE, token=grant.token), Go)

    def test_of_one_that_is_settled(self, house: Gatehouse) -> None:
        token = house.go("a", CRM)
        house.wait("b", CRM)
        house.end("a", token, CRM)
        (grant,) = house.grants
        house.end("b", house.begin(CRM)["b"], CRM)
        assert isinstance(house.acquire("b", 1, [CRM], LEASE, token=grant.token), Stale)
        assert house.left() == set()

    def test_the_next_run_takes_over_from_one_that_never_released(self, house: Gatehouse) -> None:
        """It stored its retry and died: the retry's message replaces the parked one, and the old token is void."""
        one = house.go("a", CRM)
        house.wait("b", CRM)
        house.end("a", one, CRM)
        two = house.begin(CRM)["b"]
        three = house.go("b", CRM, run=2)
        assert not house.release("b", two, [CRM], "retry", failed=False)
        assert isinstance(house.acquire("b", 1, [CRM], LEASE), Stale)
        assert house.wait("b", CRM, run=2) == ""  # its copy, delivered again: now it is kept
        house.advance(LEASE + 1)
        house.sweep()
        assert [(grant.member, grant.message) for grant in house.grants] == [("b", "b 2")]
        house.end("b", house.begin(CRM)["b"], CRM)
        assert three > two
        assert house.left() == set()

    def test_the_next_run_waits_and_the_one_before_is_refused(self, house: Gatehouse) -> None:
        one = house.go("a", CRM)
        house.wait("b", CRM)
        house.end("a", one, CRM)
        two = house.begin(CRM)["b"]
        house.go("c", SMTP)
        house.go("d", SMTP)
        assert house.wait("b", SMTP, CRM, run=2) == SMTP
        assert not house.renew("b", two, [CRM], LEASE)
        assert not house.release("b", two, [CRM], "done", failed=False)
        assert house.waiting(SMTP) == ["b"]

    def test_a_retry_that_vanished_is_kept_when_it_is_delivered_again(self, house: Gatehouse) -> None:
        """Nothing but the broker has its message: "parked" would be a lie."""
        house.declare(order_h="continue")
        gate = "order:h|1"
        house.enter("a", gate)
        house.end("a", house.begin(gate)["a"], gate, result="retry")
        house.go("a", gate, run=2)
        house.enter("b", gate)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.taken() == []  # b does not overtake
        answer = house.acquire("a", 2, [gate], LEASE)
        assert isinstance(answer, Go)
        assert answer.unfinished == 1

    def test_gates_that_changed_while_it_was_parked(self, house: Gatehouse) -> None:
        house.go("a", CRM)
        house.wait("b", CRM)
        house.call(["evict", "a", CRM])
        ((member, token, *_),) = house.take()
        assert house.go(member, SMTP, token=token) > token
        assert (house.held(CRM), house.held(SMTP)) == (set(), {"b"})

    def test_gates_that_are_gone_altogether(self, house: Gatehouse) -> None:
        house.go("a", CRM)
        house.wait("b", CRM)
        house.call(["evict", "a", CRM])
        ((member, token, *_),) = house.take()
        new = house.go(member, token=token)
        house.end("b", new)
        assert house.left() == set()
