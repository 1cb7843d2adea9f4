"""Asking for the next run while the present one ends, on a real Redis: what is given back in any case."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.admission.client import Admission, Blocked, Go
from events_core.coordination import Coordination
from events_worker.limits.early import Early
from events_worker.run import Run
from tests.support import servers
from tests.support.admission import LEASE, PREFIX, Gatehouse
from tests.support.redis_server import GivenRedis, RedisServer, has_functions
from tests.support.waiting import wait_until

GATE = "limit:smtp|"
#: A release that Redis takes for one that came too late.
NOTHING = ["release", "nobody", 1, 0, [], "done", False]


def run_of(name: str) -> Run:
    return Run.of(name, "mail", "q", {"id": name}, {}, redelivered=False)


class Desk:
    """A process that asks early. Releases that it must carry out again are in `back`."""

    def __init__(self, url: str) -> None:
        self.house = Gatehouse(url)
        client = redis.Redis.from_url(url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0))
        self.admission = Admission(Coordination(client, PREFIX), self.house.grants.extend)
        self.admission.call(["declare", {"limit:smtp": "1"}])
        self.back: list[list[Any]] = []
        self.early = Early(self.admission, self.back.append)

    def ask(self, name: str, gate: str = GATE, release: list[Any] | None = None) -> Run:
        run = run_of(name)
        run.member, run.gates, run.lease_ms = name, [gate], LEASE
        self.sent = self.early.ask(run, ["acquire", name, 1, [gate], LEASE, 0], release or NOTHING)
        return run

    def end_connection(self) -> None:
        """Redis closes it, and its end has been heard of here."""
        sock = self.early._wire._connection._connection._sock  # type: ignore[union-attr]
        host, port = sock.getsockname()
        self.house.client.client_kill_filter(addr=f"{host}:{port}")
        wait_until(lambda: select.select([sock], [], [], 0)[0], what="the end of the connection to arrive")

    def close(self) -> None:
        self.early.close()
        self.admission.close()
        self.house.close()


@pytest.fixture
def desk(redis_server: RedisServer | GivenRedis) -> Iterator[Desk]:
    made = Desk(redis_server.empty())
    if not has_functions(redis_server.version):  # it hears of that with the first question, and asks again
        assert made.early.answer(made.ask("nobody", gate="limit:smtp|nobody")) is None
        made.back.clear()
    yield made
    made.close()


def release_of(desk: Desk, name: str) -> list[Any]:
    """Its place is taken; what gives it back."""
    return ["release", name, 1, desk.house.go(name, GATE), [GATE], "done", False]


def test_the_place_goes_from_one_to_the_next_in_one_step(desk: Desk) -> None:
    run = desk.ask("b", release=release_of(desk, "a"))
    assert desk.early.run is run
    assert isinstance(desk.early.answer(run), Go)
    assert desk.early.run is None
    assert desk.house.held(GATE) == {"b"}
    assert desk.back == []


def test_one_that_may_not_begin(desk: Desk) -> None:
    desk.house.go("a", GATE)
    assert desk.early.answer(desk.ask("b")) == Blocked(GATE)


def test_only_the_message_that_was_asked_for_has_the_answer(desk: Desk) -> None:
    """Another copy of the delivery has the same id, and other headers perhaps."""
    run = desk.ask("a")
    assert desk.early.asked({"id": "a"}) is None
    assert desk.early.answer(run_of("a")) is None
    assert desk.early.asked(run.headers) is run
    assert isinstance(desk.early.answer(run), Go)
    assert desk.early.asked(run.headers) is None


def test_what_the_release_grants_is_handed_on(desk: Desk) -> None:
    """It was there before the one that comes next."""
    release = release_of(desk, "a")
    desk.house.wait("parked", GATE)
    run = desk.ask("b", release=release)
    assert desk.early.answer(run) == Blocked(GATE)
    assert desk.house.taken() == ["parked"]


def test_a_connection_that_ends_before_the_answer(desk: Desk) -> None:
    """Redis may have heard nothing: the release is carried out once more, and the run asks for itself."""
    release = release_of(desk, "a")
    run = desk.ask("b", release=release)
    desk.end_connection()
    wire: Any = desk.early._wire
    while wire._connection._connection._sock.recv(1 << 16):  # the answer was on its way already
        pass
    assert desk.early.answer(run) is None
    assert desk.back == [release]
    assert isinstance(desk.early.answer(desk.ask("c", gate="limit:smtp|other")), Go)


def test_a_redis_that_is_away(desk: Desk) -> None:
    """Nothing is asked for: the release goes another way."""
    desk.early.close()
    desk.early = Early(desk.admission, desk.back.append)
    desk.admission.coordination.client.connection_pool.connection_kwargs["port"] = 1
    desk.ask("b", release=["release of a"])
    assert not desk.sent
    assert desk.early.run is None
    assert desk.back == []


def test_what_cannot_be_sent_leaves_no_question(desk: Desk) -> None:
    """Such as a key with half a character: an answer would be waited for that nobody gives."""
    with pytest.raises(ValueError, match="surrogates"):
        desk.ask("b", gate="limit:smtp|\ud800")
    assert desk.early.run is None
    assert isinstance(desk.early.answer(desk.ask("c")), Go)


def test_an_answer_that_came_long_ago(desk: Desk) -> None:
    """Nobody has renewed what it holds: it is given up, and the run asks for itself."""
    run = desk.ask("b")
    desk.early._asked_at -= LEASE / 1000 / 2
    assert desk.early.answer(run) is None
    assert [operation[:2] for operation in desk.back] == [["relinquish", "b"]]
    desk.admission.call_many(desk.back)
    assert desk.house.left() == set()


def test_what_is_withdrawn_holds_nothing(desk: Desk) -> None:
    desk.ask("b")
    desk.early.withdraw()
    desk.admission.call_many(desk.back)
    assert desk.house.left() == set()
    desk.early.withdraw()  # nothing is asked for
    assert len(desk.back) == 1


def test_what_was_settled_before_it_is_withdrawn_holds_nothing(desk: Desk) -> None:
    """It was revoked: who buried it did not know its gates."""
    desk.ask("b")
    desk.early.withdraw()
    desk.admission.call(["settle", "b", [], "dead"])
    assert desk.house.held(GATE) == {"b"}
    desk.admission.call_many(desk.back)
    assert desk.house.left() == set()


def test_what_is_withdrawn_late_takes_nothing_from_another(desk: Desk) -> None:
    """Its lease has ended, and another worker runs it by right."""
    desk.ask("b")
    desk.early.withdraw()
    desk.house.advance(LEASE + 1)
    desk.house.sweep()
    token = desk.house.go("b", GATE)
    desk.admission.call_many(desk.back)
    assert desk.house.held(GATE) == {"b"}
    desk.house.end("b", token, GATE)


def test_one_that_had_waited_is_withdrawn(desk: Desk) -> None:
    """Its message is in Redis: it waits again where it was, and this was no start of it."""
    token = desk.house.go("a", GATE)
    desk.house.wait("b", GATE)
    desk.house.end("a", token, GATE)
    (grant,) = desk.house.take()
    run = run_of("b")
    run.member, run.gates, run.lease_ms = "b", [GATE], LEASE
    desk.early.ask(run, ["acquire", "b", 1, [GATE], LEASE, grant.token], NOTHING)
    desk.early.withdraw()
    desk.admission.call_many(desk.back)
    (grant,) = desk.house.take()
    assert desk.house.acquire("b", 1, [GATE], LEASE, token=grant.token) == Go(grant.token, unfinished=0)


def test_it_ends_with_a_question(desk: Desk) -> None:
    """The process ends: what was asked for is withdrawn at once."""
    desk.ask("b")
    desk.early.close()
    assert desk.early.run is None
    desk.admission.call_many(desk.back)
    assert desk.house.left() == set()
    assert isinstance(desk.early.answer(desk.ask("c")), Go)


def test_on_a_redis_without_functions() -> None:
    """6.2, or an ACL: the second question is asked as a script."""
    server = servers.own_redis_without_functions()
    try:
        desk = Desk(server.url())
        answers = [desk.early.answer(desk.ask(name, gate=f"limit:smtp|{name}")) for name in "abc"]
        assert answers[0] is None
        assert all(isinstance(answer, Go) for answer in answers[1:])
        desk.close()
    finally:
        server.close()


def test_a_redis_that_has_lost_the_script(desk: Desk) -> None:
    """Whoever asks otherwise loads it; the connection goes on."""
    desk.early.answer(desk.ask("first"))
    desk.house.client.script_flush()
    if has_functions(desk.house.client.info("server")["redis_version"]):
        desk.house.client.execute_command("FUNCTION", "FLUSH")
    release = ["release", "first", 1, 1, [GATE], "done", False]
    assert desk.early.answer(desk.ask("b", release=release)) is None
    assert desk.back == [release]
    desk.admission.call(release)
    assert isinstance(desk.early.answer(desk.ask("c")), Go)


def test_a_redis_that_does_not_know_the_limit(desk: Desk) -> None:
    """It was emptied: the run asks for itself, and declares it."""
    run = desk.ask("b", gate="limit:new|")
    assert desk.early.answer(run) is None
    assert desk.back == []


def test_nothing_is_asked_twice_at_a_time(desk: Desk) -> None:
    """An answer that nobody has read would be taken for the next one's."""

    class Ahead:
        def upcoming(self) -> Run:
            return run_of("next")

    desk.early.ahead = Ahead()
    assert desk.early.upcoming() is not None
    run = desk.ask("a")
    assert desk.early.upcoming() is None
    desk.early.answer(run)
    assert desk.early.upcoming() is not None


def test_none_comes_next_where_several_run_at_a_time(desk: Desk) -> None:
    assert desk.early.upcoming() is None
