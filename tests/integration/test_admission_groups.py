"""Orders by key and groups in the admission scripts, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core.admission.client import Blocked, Go, Parked, Stale
from tests.support.admission import LEASE, Gatehouse

ORDER, SMTP, GROUP = "order:h|7", "limit:smtp|", "group:g|"


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(order_h="continue", limit_smtp=1)
    yield house
    house.close()


class TestOrder:
    def test_one_at_a_time_as_entered(self, house: Gatehouse) -> None:
        for name in "abc":
            assert house.enter(name, ORDER)
        assert not house.enter("b", ORDER)
        seen = []
        while began := house.begin(ORDER):
            ((name, token),) = began.items()
            seen.append(name)
            house.end(name, token, ORDER)
        assert seen == ["a", "b", "c"]
        assert house.left() == set()

    def test_keys_do_not_wait_for_each_other(self, house: Gatehouse) -> None:
        house.enter("a", ORDER)
        house.enter("b", "order:h|8")
        assert house.taken() == ["a", "b"]

    def test_a_retry_holds_its_key_back(self, house: Gatehouse) -> None:
        house.enter("a", ORDER, SMTP)
        house.enter("b", ORDER, SMTP)
        house.end("a", house.begin(ORDER, SMTP)["a"], ORDER, SMTP, result="retry")
        assert (house.held(ORDER), house.held(SMTP), house.taken()) == ({"a"}, set(), [])
        house.advance(10 * LEASE)
        house.sweep()
        assert house.taken() == []
        assert isinstance(house.acquire("a", 1, [ORDER, SMTP], LEASE), Stale)  # delivered again
        other = house.go("x", SMTP)
        assert house.wait("a", ORDER, SMTP, run=2) == SMTP
        house.end("x", other, SMTP)
        house.end("a", house.begin(ORDER, SMTP)["a"], ORDER, SMTP)
        assert house.taken() == ["b"]

    def test_it_is_kept_while_one_waits_elsewhere_or_its_grant_is_lost(self, house: Gatehouse) -> None:
        other = house.go("x", SMTP)
        house.enter("a", ORDER, SMTP)
        house.enter("b", ORDER, SMTP)
        assert (house.waiting(SMTP), house.held(ORDER), house.waiting(ORDER)) == (["a"], {"a"}, ["b"])
        house.end("x", other, SMTP)
        for _ in range(3):
            assert house.taken() == ["a"]
            house.advance(30_001)
            house.sweep()
        began = house.begin(ORDER, SMTP)
        house.advance(LEASE + 1)  # it vanished
        house.sweep()
        assert not house.renew("a", began["a"], [ORDER], LEASE)
        assert house.taken() == ["a"]

    def test_one_that_was_not_entered_keeps_its_key_as_well(self, house: Gatehouse) -> None:
        """Its message is in the broker only: it may vanish, and be delivered again, and nobody overtakes."""
        house.go("a", ORDER)
        house.wait("b", ORDER)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.taken() == []
        answer = house.acquire("a", 1, [ORDER], LEASE)
        assert isinstance(answer, Go)
        assert answer.unfinished == 1
        house.end("a", answer.token, ORDER, result="retry")
        assert isinstance(house.acquire("a", 1, [ORDER], LEASE), Stale)
        house.end("a", house.go("a", ORDER, run=2), ORDER)
        assert house.taken() == ["b"]

    def test_a_retry_blocked_before_its_message_is_kept(self, house: Gatehouse) -> None:
        """The worker dies between being told that it is blocked and parking it: it comes again."""
        house.enter("a", ORDER, SMTP)
        house.end("a", house.begin(ORDER, SMTP)["a"], ORDER, SMTP, result="retry")
        other = house.go("x", SMTP)
        house.acquire("a", 2, [ORDER, SMTP], LEASE)
        house.end("x", other, SMTP)
        assert house.taken() == []
        house.end("a", house.go("a", ORDER, SMTP, run=2), ORDER, SMTP)
        assert house.left() == set()

    def test_room_comes_between_being_blocked_and_parking(self, house: Gatehouse) -> None:
        """It runs, its message nowhere but in the broker; delivered again it is kept."""
        house.enter("a", ORDER, SMTP)
        house.end("a", house.begin(ORDER, SMTP)["a"], ORDER, SMTP, result="retry")
        other = house.go("x", SMTP)
        house.acquire("a", 2, [ORDER, SMTP], LEASE)
        house.end("x", other, SMTP)
        assert isinstance(house.park("a", 2, [ORDER, SMTP], LEASE, "a 2"), Go)
        assert house.wait("a", ORDER, SMTP, run=2) == ""
        house.advance(LEASE + 1)
        house.sweep()
        assert [grant.message for grant in house.grants] == ["a 2"]

    def test_a_dead_one_lets_the_next_go_on(self, house: Gatehouse) -> None:
        house.enter("a", ORDER)
        house.enter("b", ORDER)
        house.end("a", house.begin(ORDER)["a"], ORDER, result="dead")
        assert house.taken() == ["b"]

    def test_or_holds_it_until_it_is_redriven(self, house: Gatehouse) -> None:
        house.declare(order_h="hold")
        for name in "abc":
            house.enter(name, ORDER)
        house.end("a", house.begin(ORDER)["a"], ORDER, result="dead")
        house.advance(10 * LEASE)
        house.sweep()
        assert house.taken() == []
        assert isinstance(house.acquire("a", 1, [ORDER], LEASE), Stale)
        again = house.go("a", ORDER, run=1_000_001)
        house.end("a", again, ORDER, result="dead")
        assert house.taken() == []
        house.end("a", house.go("a", ORDER, run=2_000_001), ORDER)
        house.end("b", house.begin(ORDER)["b"], ORDER)
        house.end("c", house.begin(ORDER)["c"], ORDER)
        assert house.left() == set()

    def test_a_held_one_that_is_given_up(self, house: Gatehouse) -> None:
        house.declare(order_h="hold")
        house.enter("a", ORDER)
        house.enter("b", ORDER)
        house.end("a", house.begin(ORDER)["a"], ORDER, result="dead")
        house.call(["settle", "a", [], "done"])
        assert house.taken() == ["b"]

    def test_evicting_one_that_waits_for_its_retry(self, house: Gatehouse) -> None:
        """Nothing is granted that has no message, and its retry queues up."""
        house.enter("a", ORDER)
        house.enter("b", ORDER)
        house.end("a", house.begin(ORDER)["a"], ORDER, result="retry")
        assert house.call(["evict", "a", ORDER])
        began = house.begin(ORDER)
        assert list(began) == ["b"]
        assert house.wait("a", ORDER, run=2) == ORDER
        house.end("b", began["b"], ORDER)
        house.end("a", house.begin(ORDER)["a"], ORDER)
        assert house.left() == set()

    def test_an_order_that_a_new_deployment_does_not_have_lets_the_next_go_on(self, house: Gatehouse) -> None:
        house.enter("a", ORDER, SMTP)
        house.enter("b", ORDER, SMTP)
        (grant,) = house.take()
        house.declare(limit_crm=1)
        token = house.go("a", "limit:crm|", token=grant.token)
        assert house.taken() == ["b"]
        house.end("a", token, "limit:crm|")


class TestGroup:
    def group(self, house: Gatehouse, places: int, *members: str) -> None:
        assert house.call(["open", "g", places, 60_000, {"name": "report"}])
        for member in members:
            assert house.enter(member, GROUP, group="g")

    def count(self, house: Gatehouse) -> dict[str, int]:
        found = house.client.hgetall("shop:group:g")
        return {
            name: int(found[name])
            for name in ("total", "done", "dead", "cancelled", "retrying")
            if int(found.get(name, 0))
        }

    def completed(self, house: Gatehouse) -> bool:
        return house.client.zrange("shop:groups:completed", 0, -1) == ["g"]

    def test_so_many_at_once_and_counted_once(self, house: Gatehouse) -> None:
        self.group(house, 2, *"abc")
        began = house.begin(GROUP)
        assert list(began) == ["a", "b"]
        house.end("a", began["a"], GROUP)
        assert not house.release("a", began["a"], [GROUP], "done", failed=False)
        assert isinstance(house.acquire("a", 1, [GROUP], LEASE, token=began["a"]), Stale)
        began |= house.begin(GROUP)
        house.end("b", began["b"], GROUP, result="dead")
        assert house.call(["seal", "g"])
        assert not self.completed(house)
        house.end("c", began["c"], GROUP)
        assert self.count(house) == {"total": 3, "done": 2, "dead": 1}
        assert self.completed(house)
        assert house.left() == {"group:g", "groups:completed"}

    def test_completion_is_recorded_once(self, house: Gatehouse) -> None:
        self.group(house, 2, "a")
        house.call(["seal", "g"])
        house.end("a", house.begin(GROUP)["a"], GROUP)
        assert self.completed(house)
        house.client.zrem("shop:groups:completed", "g")
        house.call(["seal", "g"])
        assert not self.completed(house)

    def test_sealed_after_the_last_has_ended(self, house: Gatehouse) -> None:
        self.group(house, 2, "a")
        house.end("a", house.begin(GROUP)["a"], GROUP)
        assert not self.completed(house)
        house.call(["seal", "g"])
        assert self.completed(house)

    def test_an_empty_one(self, house: Gatehouse) -> None:
        assert not house.call(["seal", "g"])
        self.group(house, 1)
        assert house.call(["seal", "g"])
        assert self.completed(house)

    def test_a_retry_gives_its_slot_to_the_next(self, house: Gatehouse) -> None:
        self.group(house, 2, *"abc")
        house.call(["seal", "g"])
        began = house.begin(GROUP)
        house.end("a", began["a"], GROUP, result="retry")
        assert self.count(house) == {"total": 3, "retrying": 1}
        began |= house.begin(GROUP)
        assert list(began) == ["a", "b", "c"]
        assert house.wait("a", GROUP, run=2) == GROUP
        assert self.count(house) == {"total": 3}
        house.end("b", began["b"], GROUP)
        house.end("c", began["c"], GROUP)
        assert not self.completed(house)
        house.end("a", house.begin(GROUP)["a"], GROUP)
        assert self.count(house) == {"total": 3, "done": 3}
        assert self.completed(house)

    def test_but_keeps_it_where_there_is_one(self, house: Gatehouse) -> None:
        self.group(house, 1, *"ab")
        house.end("a", house.begin(GROUP)["a"], GROUP, result="retry")
        assert house.taken() == []
        assert self.count(house) == {"total": 2, "retrying": 1}
        house.end("a", house.go("a", GROUP, run=2), GROUP)
        house.end("b", house.begin(GROUP)["b"], GROUP)
        assert self.count(house) == {"total": 2, "done": 2}

    def test_a_retry_that_vanished_comes_back(self, house: Gatehouse) -> None:
        self.group(house, 2, "a")
        house.end("a", house.begin(GROUP)["a"], GROUP, result="retry")
        house.go("a", GROUP, run=2)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.taken() == []
        assert house.held(GROUP) == set()
        house.end("a", house.go("a", GROUP, run=2), GROUP)
        assert self.count(house) == {"total": 1, "done": 1}

    def test_cancelled(self, house: Gatehouse) -> None:
        """What runs goes on; what waits, or for its retry, is counted as cancelled when it comes."""
        self.group(house, 2, *"abcd")
        house.call(["seal", "g"])
        began = house.begin(GROUP)
        house.end("a", began["a"], GROUP, result="retry")
        house.client.hset("shop:group:g", "stopped", 1)
        assert isinstance(house.acquire("b", 1, [GROUP], LEASE, token=began["b"]), Parked)
        assert isinstance(house.acquire("a", 2, [GROUP], LEASE), Stale)
        while grants := house.take():
            for grant in grants:
                assert isinstance(house.acquire(grant.member, 1, [GROUP], LEASE, token=grant.token), Stale)
        assert not self.completed(house)
        house.end("b", began["b"], GROUP)
        assert self.count(house) == {"total": 4, "done": 1, "cancelled": 3}
        assert self.completed(house)

    def test_a_dead_one_that_holds_its_order_is_counted_once_though_redriven(self, house: Gatehouse) -> None:
        house.declare(order_h="hold")
        self.group(house, 2)
        house.enter("a", ORDER, GROUP, group="g")
        house.call(["seal", "g"])
        house.end("a", house.begin(ORDER, GROUP)["a"], ORDER, GROUP, result="dead")
        house.end("a", house.go("a", ORDER, run=1_000_001), ORDER)
        assert self.count(house) == {"total": 1, "dead": 1}
        assert house.left() == {"group:g", "groups:completed"}


class TestALeaseThatEnded:
    """A run that is not parked: its message is with its worker, which could not renew for long, and ends well."""

    def test_of_an_order_s_retry(self, house: Gatehouse) -> None:
        house.enter("a", ORDER)
        house.enter("b", ORDER)
        began = house.begin(ORDER)
        house.end("a", began["a"], ORDER, result="retry")
        token = house.go("a", ORDER, run=2)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.taken() == []  # it keeps its key: the broker delivers it again, if its worker is dead
        assert house.release("a", token, [ORDER], "done", failed=False)  # it is not: nobody else has its message
        assert house.taken() == ["b"]

    def test_of_a_group_s_retry(self, house: Gatehouse) -> None:
        house.call(["open", "g", 2, 60_000, {}])
        house.enter("a", GROUP, group="g")
        house.call(["seal", "g"])
        began = house.begin(GROUP)
        house.end("a", began["a"], GROUP, result="retry")
        token = house.go("a", GROUP, run=2)
        house.advance(LEASE + 1)
        house.sweep()
        assert house.release("a", token, [GROUP], "done", failed=False)
        assert house.call(["progress", "g"])[0] == "completed"

    def test_of_an_earlier_run(self, house: Gatehouse) -> None:
        """That of another run says nothing about this one."""
        house.enter("a", ORDER)
        began = house.begin(ORDER)
        house.end("a", began["a"], ORDER, result="retry")
        house.go("a", ORDER, run=2)
        house.advance(LEASE + 1)
        house.sweep()
        assert not house.release("a", began["a"], [ORDER], "done", failed=False, run=1)
        assert house.info("a")["state"] == "leaving"

    def test_nobody_overtakes_who_came_back_and_vanished_again(self, house: Gatehouse) -> None:
        """Killed between storing its retry and its release; the retry is blocked elsewhere, and its worker dies too."""
        house.enter("a", ORDER, SMTP)
        house.enter("b", ORDER, SMTP)
        house.begin(ORDER, SMTP)
        house.call(["override", "limit:smtp", "0"])
        assert isinstance(house.acquire("a", 2, [ORDER, SMTP], LEASE), Blocked)
        house.advance(LEASE + 1)
        house.sweep()
        house.call(["override", "limit:smtp", "1"])
        house.sweep()
        assert house.taken() == []
        house.end("a", house.go("a", ORDER, SMTP, run=2), ORDER, SMTP)
        assert house.taken() == ["b"]
