"""The thread that renews leases and sends releases, on a real Redis: nothing that a run gave back stays taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.admission.client import Admission
from events_core.coordination import Coordination
from events_worker.limits import leases as module
from events_worker.limits.leases import Lease, Leases
from tests.support.admission import LEASE, PREFIX, Gatehouse
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

GATE = "limit:smtp|"
NEVER = 3600.0  # seconds
HOUR = 3_600_000  # milliseconds: a third of it is longer than any test


class Desk:
    """A process with leases of a limit that it holds places at."""

    def __init__(self, url: str) -> None:
        self.house = Gatehouse(url)  # tests look into Redis, and do not run its script
        client = redis.Redis.from_url(url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0))
        self.admission = Admission(Coordination(client, PREFIX), self.house.grants.extend)
        self.admission.call(["declare", {"limit:smtp": "100"}])
        self.leases = Leases(self.admission)
        self._held: dict[str, Lease] = {}

    def hold(self, *members: str, length: int = LEASE) -> Lease:
        """They begin; the lease of the last. length: milliseconds."""
        for member in members:
            answer: Any = self.admission.acquire(member, 1, [GATE], length)
            self._held[member] = self.leases.add(member, answer.token, [GATE], length)
        return self._held[members[-1]]

    def end(self, *members: str, at_once: bool = False) -> None:
        """They are done, and what they hold is given back."""
        for member in members:
            lease = self._held.pop(member)
            self.leases.drop(lease)
            operation = ["release", member, 1, lease.token, [GATE], "done", False]
            self.leases.release_soon(operation, at_once=at_once)

    def holders(self) -> set[str]:
        """As Redis has them."""
        return self.house.held(GATE)

    def lease_ends(self, member: str) -> float:
        """When, in milliseconds of Redis' clock."""
        return float(self.house.client.zscore(f"{PREFIX}gate:held:{GATE}", member))

    def close(self) -> None:
        for lease in self._held.values():
            self.leases.drop(lease)
        self.leases._urgent.set()  # a pause that a test made endless
        self.admission.close()
        self.house.close()


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.close()


@pytest.fixture
def own_desk(own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """On a Redis that goes; after an error the thread tries again soon."""
    monkeypatch.setattr(module, "_AFTER_ERROR", 0.02)
    desk = Desk(own_redis_server.url())
    yield desk
    desk.close()


@pytest.fixture
def no_moment_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that may wait is not sent by itself within a test."""
    monkeypatch.setattr(module, "_PAUSE", NEVER)


class TestReleases:
    @pytest.mark.usefixtures("no_moment_ends")
    def test_one_that_can_wait_goes_along_with_the_next_operation(self, desk: Desk) -> None:
        desk.hold("a", "b")
        desk.end("a", "b")
        trips = desk.admission.trips
        assert desk.holders() == {"a", "b"}
        desk.hold("c")
        assert desk.holders() == {"c"}
        assert desk.admission.trips == trips + 1

    def test_by_itself_where_there_is_none(self, desk: Desk) -> None:
        desk.hold("long", length=HOUR)
        wait_until(lambda: not desk.leases._idle, what="the thread to know it")  # what begins now does not wake it
        for member in "abc":
            desk.hold(member)
            desk.end(member)
            wait_until(lambda: desk.holders() == {"long"}, what="the place to be free")

    @pytest.mark.usefixtures("no_moment_ends")
    def test_one_that_cannot_wait_is_sent_by_the_thread(self, desk: Desk) -> None:
        for member in "abc":
            desk.hold(member)
            desk.end(member, at_once=True)
            wait_until(lambda: not desk.holders(), what="the place to be free")

    @pytest.mark.usefixtures("no_moment_ends")
    def test_it_takes_along_those_that_can(self, desk: Desk) -> None:
        desk.hold("a", "b")
        desk.end("a")
        desk.end("b", at_once=True)
        wait_until(lambda: not desk.holders(), what="both places to be free")

    @pytest.mark.usefixtures("no_moment_ends")
    def test_none_waits_when_the_process_ends(self, desk: Desk) -> None:
        desk.hold("a")
        desk.end("a")
        desk.leases.flush()
        assert desk.holders() == set()

    def test_many_at_a_time(self, desk: Desk) -> None:
        """Runs that end while others begin: neither is lost between the thread and the operations."""

        def work(number: int) -> None:
            for turn in range(25):
                desk.hold(f"{number}-{turn}")
                desk.end(f"{number}-{turn}", at_once=turn % 2 == 0)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: not desk.holders(), what="all places to be free")
        assert not desk.admission.waiting


class TestWithoutRedis:
    @pytest.mark.parametrize("at_once", [False, True], ids=["soon", "at once"])
    def test_none_is_lost_while_it_is_gone(
        self, own_desk: Desk, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture, at_once: bool
    ) -> None:
        members = [f"m{number}" for number in range(20)]
        own_desk.hold(*members)
        own_redis_server.stop()
        own_desk.end(*members[:10], at_once=at_once)
        wait_until(lambda: "leases are not renewed" in caplog.text, what="the thread to fail")
        own_desk.end(*members[10:], at_once=at_once)
        with pytest.raises(redis.ConnectionError):
            own_desk.admission.call(["sweep"])  # those that went along with it wait again
        own_redis_server.start()
        wait_until(lambda: not own_desk.holders(), what="all places to be free")

    @pytest.mark.parametrize("at_once", [False, True], ids=["soon", "at once"])
    def test_none_is_lost_with_a_connection(self, own_desk: Desk, at_once: bool) -> None:
        own_desk.hold("a", "b")
        own_desk.house.client.client_kill_filter(_type="normal", skipme=True)
        own_desk.end("a", "b", at_once=at_once)
        wait_until(lambda: not own_desk.holders(), what="both places to be free")

    def test_a_process_may_end(
        self, own_desk: Desk, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        own_desk.hold("a")
        own_redis_server.stop()
        own_desk.end("a")
        own_desk.leases.flush()
        assert "some places are given back when their leases end" in caplog.text


class TestRenewing:
    def test_while_releases_keep_coming(self, desk: Desk) -> None:
        """As on a worker that is never idle: the thread finds something to send each time that it looks."""
        lease = desk.hold("long", length=300)
        over = threading.Event()

        def work() -> None:
            turn = 0
            while not over.wait(0.0005):
                turn += 1
                desk.hold(f"short-{turn}")
                desk.end(f"short-{turn}", at_once=turn % 2 == 0)

        thread = threading.Thread(target=work)
        thread.start()
        ends = {desk.lease_ends("long")}

        def renewed() -> bool:
            ends.add(desk.lease_ends("long"))
            return len(ends) > 5

        try:
            wait_until(renewed, what="five renewals")
        finally:
            over.set()
            thread.join()
        assert not lease.refused

    def test_of_several_lengths_and_none_that_was_dropped(self, desk: Desk) -> None:
        long = desk.hold("long", length=HOUR)
        wait_until(lambda: not desk.leases._idle, what="the thread to know it")
        desk.hold("dropped", length=1_500)
        desk.leases.drop(desk._held["dropped"])
        first = desk.hold("short", length=1_500).renewed_at
        short = desk._held["short"]
        wait_until(lambda: short.renewed_at > first, what="the short one to be renewed")
        began = short.renewed_at
        wait_until(lambda: short.renewed_at > began + 1.6, what="renewals beyond the first end")
        desk.admission.call(["sweep"])
        assert desk.holders() == {"long", "short"}
        assert not long.refused

    def test_a_first_lease_that_is_shorter(self, desk: Desk) -> None:
        """It is renewed in time, and for its full length: also where the thread sleeps until a long one is due."""
        desk.hold("long", length=HOUR)
        wait_until(lambda: not desk.leases._idle, what="the thread to know it")
        answer: Any = desk.admission.acquire("a", 1, [GATE], 300)
        desk.leases.add("a", answer.token, [GATE], HOUR, 300)
        first = desk.lease_ends("a")
        wait_until(lambda: desk.lease_ends("a") > first + HOUR / 2, what="the short one to be renewed")

    def test_one_that_was_taken_away_is_refused(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        lease = desk.hold("a", length=300)
        desk.admission.call(["evict", "a", GATE])
        wait_until(lambda: lease.refused, what="it to be refused")
        assert "a lost its place at limit:smtp" in caplog.text
        other = desk.hold("b", length=300)
        renewed = other.renewed_at
        wait_until(lambda: other.renewed_at > renewed, what="others to be renewed after that")
        assert caplog.text.count("lost its place") == 1
