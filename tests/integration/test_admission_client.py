"""The caller's side of admission when something goes wrong: interrupts, a full Redis, operations that always fail."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator

import pytest
import redis

from tests.support import servers
from tests.support.admission import LEASE, PREFIX, Gatehouse
from tests.support.redis_server import has_functions
from tests.support.waiting import wait_until

CRM = "limit:crm|"


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_crm=1)
    yield house
    house.close()


class Interrupt(BaseException):
    """As Ctrl-C, or a timeout of gevent."""


def test_a_caller_that_is_interrupted_while_it_waits_does_not_take_the_lead_along(house: Gatehouse) -> None:
    admission = house.admission
    admission._leading.acquire()  # another thread's round trip is under way
    main = threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: admission._calls, what="the caller to wait")
        signal.pthread_kill(main, signal.SIGUSR2)

    def receive(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGUSR2, receive)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Interrupt):
            house.call(["epoch"])
    finally:
        signal.signal(signal.SIGUSR2, before)
        thread.join()
    admission._hand_over_lead()  # to the only one who waits, and is gone
    wait_until(lambda: not admission._leading.locked(), what="the lead to be free")
    assert house.call(["epoch"])


def test_flush_returns_after_what_is_under_way(house: Gatehouse) -> None:
    """A thread that has taken the releases along, and was not heard yet, must not be overtaken by the process's end."""
    admission = house.admission
    admission._leading.acquire()
    flushing = threading.Thread(target=admission.flush)
    flushing.start()
    wait_until(lambda: admission._calls, what="flush to wait")
    admission._hand_over_lead()
    flushing.join(30)
    assert not flushing.is_alive()


class TestAFullRedis:
    @pytest.fixture
    def full(self) -> Iterator[Gatehouse]:
        server = servers.own_redis()
        if not has_functions(server.version):
            server.close()
            pytest.skip("a Redis before 7 that is full lets a script go on that has given something back")
        house = Gatehouse(server.url())
        house.declare(limit_crm=1)
        yield house
        house.close()
        server.close()

    def fill(self, house: Gatehouse) -> None:
        house.client.config_set("maxmemory", house.client.info("memory")["used_memory"] - 1000)

    def test_it_drains(self, full: Gatehouse) -> None:
        token = full.go("a", CRM)
        full.wait("b", CRM)
        full.wait("c", CRM)
        self.fill(full)
        full.end("a", token, CRM)
        assert full.taken() == ["b"]
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            full.park("d", 1, [CRM], LEASE, "d 1")
        full.sweep()

    def test_who_is_refused_does_not_take_others_along(self, full: Gatehouse) -> None:
        """One round trip for both: what gives memory back is carried out, what takes some is told."""
        token = full.go("a", CRM)
        full.wait("b", CRM)
        self.fill(full)
        full.admission.later(["release", "a", 1, token, [CRM], "done", False])
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            full.acquire("c", 1, [CRM], LEASE)
        assert full.taken() == ["b"]
        assert not full.admission.waiting


def test_what_always_fails_is_not_tried_for_ever(house: Gatehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has put a key of another type there. Its place comes back when its lease ends."""
    token = house.go("a", CRM)
    house.client.set(f"{PREFIX}gate:held:limit:other|", "mine")
    house.admission.later(["release", "a", 1, token, ["limit:other|"], "done", False])
    with pytest.raises(redis.ResponseError):
        house.call(["epoch"])
    assert re.search("1 places are given back when their leases end: .*WRONGTYPE", caplog.text)
    assert house.call(["epoch"])


def test_what_may_go_well_later_is_kept(house: Gatehouse) -> None:
    token = house.go("a", CRM)
    house.admission.later(["release", "a", 1, token, [CRM], "done", False])
    admission, wire = house.admission, house.admission._wire
    assert wire is not None
    original = wire.run
    wire.run = lambda *_, **__: (_ for _ in ()).throw(redis.ResponseError("MISCONF cannot save"))  # type: ignore[method-assign]
    with pytest.raises(redis.ResponseError):
        house.call(["epoch"])
    wire.run = original  # type: ignore[method-assign]
    assert admission.waiting
    admission.flush()
    assert house.held(CRM) == set()
