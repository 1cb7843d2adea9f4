"""What every limiter promises, as tests that any of them passes.

Subclass `LimitContract` in a test module, with a fixture `limiter` that gives a new limiter without definitions:

    class TestOurs(LimitContract):
        @pytest.fixture
        def limiter(self) -> LimiterUnderTest: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pytest

from events_core.admission.client import Answer, Blocked, Go, Grant, Parked, Stale, Undeclared

LEASE = 30_000
_LONG = 2 * 3_600_000  # longer than any lease and any grant
ONE, TWO, RATE = "limit:one|", "limit:two|", "rate:api|"


class LimiterUnderTest(Protocol):
    """A limiter, with a clock that a test can move. Times are milliseconds.

    grants: what the limiter has handed on, in order; a test empties it.
    acquire, park, renew and release are those of `events_core.admission.client.Admission`, sweep its operation.
    """

    grants: list[Grant]

    def define(self, definitions: Mapping[str, str]) -> None:
        """ "limit:smtp" -> places; "rate:api" -> milliseconds between two, and the burst."""

    def advance(self, milliseconds: int) -> None:
        """Let time pass, for leases, grants and rates."""

    def acquire(self, member: str, run: int, gates: list[str], lease: int, *, token: int = 0) -> Answer:
        """Ask whether a run of a delivery may begin."""

    def park(self, member: str, run: int, gates: list[str], lease: int, message: str) -> Answer:
        """Keep the message of one that was blocked."""

    def renew(self, member: str, token: int, gates: list[str], lease: int) -> bool:
        """Hold its gates for another lease."""

    def release(self, member: str, token: int, gates: list[str], result: str, *, failed: bool, run: int = 1) -> bool:
        """Its run has ended."""

    def sweep(self) -> tuple[int, int]:
        """Milliseconds until the next look, or -1, and how many are parked."""


def go(limiter: LimiterUnderTest, member: str, *gates: str) -> int:
    """It may begin at once: its token."""
    answer = limiter.acquire(member, 1, list(gates), LEASE)
    assert isinstance(answer, Go), answer
    assert answer.unfinished == 0
    return answer.token


def wait(limiter: LimiterUnderTest, member: str, *gates: str) -> str:
    """It may not, and is parked: the gate that blocks it."""
    answer = limiter.acquire(member, 1, list(gates), LEASE)
    assert isinstance(answer, Blocked), answer
    parked = limiter.park(member, 1, list(gates), LEASE, f"message of {member}")
    assert isinstance(parked, Parked), parked
    return answer.gate


def end(limiter: LimiterUnderTest, member: str, token: int, *gates: str) -> None:
    """Its run has ended, and this was its token."""
    assert limiter.release(member, token, list(gates), "done", failed=False)


def granted(limiter: LimiterUnderTest) -> list[str]:
    """The members granted since the last look, in order."""
    names = [grant.member for grant in limiter.grants]
    limiter.grants.clear()
    return names


def begin(limiter: LimiterUnderTest, *gates: str, unfinished: int = 0) -> dict[str, int]:
    """All that was granted begins: the tokens."""
    grants = list(limiter.grants)
    limiter.grants.clear()
    for member, token, message, *_ in grants:
        assert message == f"message of {member}"
        assert limiter.acquire(member, 1, list(gates), LEASE, token=token) == Go(token, unfinished)
    return {grant.member: grant.token for grant in grants}


class LimitContract:
    """The tests. Each needs the fixture `limiter`."""

    def test_never_more_than_its_places_and_the_longest_waiter_first(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:two": "2"})
        running = {name: go(limiter, name, TWO) for name in ("a", "b")}
        names = [f"w{number}" for number in range(10)]
        assert {wait(limiter, name, TWO) for name in names} == {TWO}
        seen: list[str] = []
        while running:
            assert len(running) <= 2
            member, token = running.popitem()
            end(limiter, member, token, TWO)
            began = begin(limiter, TWO)
            seen += began
            running |= began
        assert seen == names

    def test_each_value_of_a_key_has_places_of_its_own(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        token = go(limiter, "a", "limit:one|x")
        go(limiter, "b", "limit:one|y")
        assert wait(limiter, "c", "limit:one|x") == "limit:one|x"
        end(limiter, "a", token, "limit:one|x")
        assert granted(limiter) == ["c"]

    def test_all_gates_or_none_and_it_waits_at_the_one_that_blocks(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1", "limit:two": "2"})
        one = go(limiter, "a", ONE)
        assert wait(limiter, "b", TWO, ONE) == ONE
        two = go(limiter, "c", TWO)
        go(limiter, "d", TWO)
        end(limiter, "a", one, ONE)
        assert granted(limiter) == []  # now the other blocks it, and holds nothing of this one
        one = go(limiter, "e", ONE)
        end(limiter, "c", two, TWO)
        assert granted(limiter) == []
        end(limiter, "e", one, ONE)
        assert list(begin(limiter, TWO, ONE)) == ["b"]

    def test_one_blocked_elsewhere_does_not_hold_up_those_behind_it(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1", "limit:two": "2"})
        go(limiter, "a", ONE)
        token = go(limiter, "b", TWO)
        go(limiter, "c", TWO)
        wait(limiter, "d", TWO, ONE)
        wait(limiter, "e", TWO)
        end(limiter, "b", token, TWO)
        assert granted(limiter) == ["e"]

    def test_nobody_is_overtaken_where_two_gates_open_together(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1", "limit:two": "1"})
        token = go(limiter, "a", ONE, TWO)
        wait(limiter, "b", TWO)
        wait(limiter, "c", ONE, TWO)
        end(limiter, "a", token, ONE, TWO)
        assert granted(limiter) == ["b"]

    def test_the_next_run_may_be_parked_before_the_release_of_this_one_is_heard(
        self, limiter: LimiterUnderTest
    ) -> None:
        """A retry that is due at once, and a release that was late: what is parked is the retry's message."""
        limiter.define({"limit:one": "1"})
        token = go(limiter, "a", ONE)
        assert isinstance(limiter.acquire("a", 2, [ONE], LEASE), Blocked)
        assert isinstance(limiter.park("a", 2, [ONE], LEASE, "message of a"), Parked)
        assert granted(limiter) == []
        assert limiter.release("a", token, [ONE], "retry", failed=True, run=1)
        [(member, second, message, *_)] = limiter.grants
        assert (member, message) == ("a", "message of a")
        assert limiter.acquire("a", 2, [ONE], LEASE, token=second) == Go(second, 0)
        assert limiter.release("a", second, [ONE], "done", failed=False, run=2)
        assert limiter.sweep() == (-1, 0)

    def test_a_lease_is_renewed_or_ends(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        token = go(limiter, "a", ONE)
        wait(limiter, "b", ONE)
        for _ in range(3):
            limiter.advance(LEASE - 2_000)
            limiter.sweep()
            assert limiter.renew("a", token, [ONE], LEASE)
        assert granted(limiter) == []
        limiter.advance(LEASE + 1)
        limiter.sweep()
        assert list(begin(limiter, ONE)) == ["b"]
        assert not limiter.renew("a", token, [ONE], LEASE)
        assert not limiter.release("a", token, [ONE], "done", failed=False)
        assert wait(limiter, "c", ONE) == ONE  # b still has it

    def test_a_newcomer_finds_the_place_of_one_that_vanished(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        go(limiter, "a", ONE)
        limiter.advance(LEASE + 1)
        go(limiter, "b", ONE)

    def test_a_parked_one_that_vanished_waits_again_at_its_old_place(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        first = go(limiter, "a", ONE)
        wait(limiter, "b", ONE)
        wait(limiter, "c", ONE)
        end(limiter, "a", first, ONE)
        old = begin(limiter, ONE)["b"]
        limiter.advance(LEASE + 1)
        limiter.sweep()
        new = begin(limiter, ONE, unfinished=1)["b"]
        assert new > old
        assert not limiter.release("b", old, [ONE], "done", failed=False)
        end(limiter, "b", new, ONE)
        assert granted(limiter) == ["c"]

    def test_a_grant_that_nobody_begins_is_given_again(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        token = go(limiter, "a", ONE)
        wait(limiter, "b", ONE)
        wait(limiter, "c", ONE)
        end(limiter, "a", token, ONE)
        (lost,) = limiter.grants
        limiter.grants.clear()
        limiter.advance(_LONG)
        limiter.sweep()
        assert isinstance(limiter.acquire("b", 1, [ONE], LEASE, token=lost.token), Parked)
        assert list(begin(limiter, ONE)) == ["b"]

    def test_repeats_of_a_message(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        token = go(limiter, "a", ONE)
        assert isinstance(limiter.acquire("a", 1, [ONE], LEASE), Blocked)  # it runs
        assert isinstance(limiter.acquire("a", 1, [ONE], LEASE), Blocked)  # a copy with a stalled worker
        assert isinstance(limiter.park("a", 1, [ONE], LEASE, "message of a"), Parked)
        wait(limiter, "b", ONE)
        assert isinstance(limiter.acquire("b", 1, [ONE], LEASE), Parked)  # it waits
        end(limiter, "a", token, ONE)
        assert isinstance(limiter.acquire("b", 1, [ONE], LEASE), Parked)  # its grant is on its way
        token = begin(limiter, ONE)["b"]
        assert isinstance(limiter.acquire("b", 1, [ONE], LEASE, token=token), Parked)  # it runs
        end(limiter, "b", token, ONE)
        assert isinstance(limiter.acquire("b", 1, [ONE], LEASE, token=token), Stale)  # it has ended
        assert limiter.grants == []

    def test_one_that_nobody_has_defined_is_told(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        with pytest.raises(Undeclared, match="limit:unknown"):
            limiter.acquire("a", 1, [ONE, "limit:unknown|7"], LEASE)
        go(limiter, "b", ONE)

    def test_more_places_let_more_begin_and_fewer_interrupt_nobody(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1"})
        tokens = {"a": go(limiter, "a", ONE)}
        for name in ("b", "c", "d"):
            wait(limiter, name, ONE)
        limiter.define({"limit:one": "3"})
        limiter.sweep()
        tokens |= begin(limiter, ONE)
        assert list(tokens) == ["a", "b", "c"]
        limiter.define({"limit:one": "2"})
        assert limiter.renew("a", tokens["a"], [ONE], LEASE)
        end(limiter, "a", tokens["a"], ONE)
        assert granted(limiter) == []
        end(limiter, "b", tokens["b"], ONE)
        assert granted(limiter) == ["d"]

    def test_a_rate_lets_each_wait_for_its_time(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"rate:api": "60000 1"})
        go(limiter, "a", RATE)
        for name in ("b", "c"):
            assert wait(limiter, name, RATE) == RATE
        for name in ("b", "c"):
            limiter.advance(50_000)
            limiter.sweep()
            assert granted(limiter) == []
            limiter.advance(10_000)
            limiter.sweep()
            began = begin(limiter, RATE)
            assert list(began) == [name]
            end(limiter, name, began[name], RATE)

    def test_a_rate_lets_a_burst_begin_after_a_pause(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"rate:api": "60000 3"})
        for round_ in range(2):
            for number in range(3):
                end(limiter, f"m{round_}{number}", go(limiter, f"m{round_}{number}", RATE), RATE)
            assert isinstance(limiter.acquire("late", 1, [RATE], LEASE), Blocked)
            limiter.advance(600_000)

    def test_a_rate_does_not_count_one_that_another_gate_blocks(self, limiter: LimiterUnderTest) -> None:
        limiter.define({"limit:one": "1", "rate:api": "60000 1"})
        go(limiter, "a", ONE)
        assert wait(limiter, "b", ONE, RATE) == ONE
        go(limiter, "c", RATE)

    def test_the_sweep_says_when_to_look_again_and_how_many_are_parked(self, limiter: LimiterUnderTest) -> None:
        assert limiter.sweep() == (-1, 0)
        limiter.define({"rate:api": "20000 1"})
        one = go(limiter, "a", RATE)
        wait(limiter, "b", RATE)
        wait_for, parked = limiter.sweep()
        assert 0 < wait_for <= 20_000
        assert parked == 1
        end(limiter, "a", one, RATE)
        limiter.advance(20_001)
        limiter.sweep()
        end(limiter, "b", begin(limiter, RATE)["b"], RATE)
        assert limiter.sweep() == (-1, 0)
