"""What one process takes over of what was granted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from events_core.admission.client import Grant
from events_core.admission.turns import Granted
from events_core.publishing.messages import Delivery, Message
from events_worker.limits.hand_over import HandOver
from events_worker.run import Run


class Host:
    """A pool with room for two, which runs `mail` of the queue `q.granted`."""

    def __init__(self) -> None:
        self.given: list[Message] = []
        self.open = True

    @property
    def room(self) -> int:
        return 2 - len(self.given)

    def runs(self, handler: str, queue: str) -> bool:
        return (handler, queue) == ("mail", "q.granted")

    def run(self, message: Message) -> bool:
        self.given.append(message)
        return self.open

    def ids(self) -> list[str]:
        return [message.delivery.task_id for message in self.given]


class Gatekeeper:
    """Lets begin what it can read, which is all but what is in `strange`, and passes on what is not in `late`."""

    def __init__(self) -> None:
        self.strange: set[str] = set()
        self.late: set[str] = set()
        self.passed_on: list[str] = []
        self.abandoned: list[str] = []

    def begin_granted(self, run: Run, grant: Grant) -> bool:
        run.token = grant.token
        return run.task_id not in self.strange

    def pass_on(self, grants: Sequence[Grant]) -> list[bool]:
        self.passed_on += [grant.member for grant in grants]
        return [grant.member not in self.late for grant in grants]

    def abandon(self, run: Run) -> None:
        self.abandoned.append(run.task_id)


def granted(task_id: str, handler: str = "mail", queue: str = "q.granted", begun: bool = True) -> Granted:
    message = Message(Delivery(handler, task_id, queue), {"events-grant": 7}, b"[[{}], {}, {}]")
    return Grant(task_id, 7, "", 0 if begun else None), message


def names(left: list[Granted]) -> list[str]:
    return [grant.member for grant, _ in left]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def gatekeeper() -> Gatekeeper:
    return Gatekeeper()


@pytest.fixture
def hand_over(host: Host, gatekeeper: Gatekeeper) -> HandOver:
    made = HandOver(gatekeeper)
    made.open(host)
    return made


def received(hand_over: HandOver, host: Host, task_id: str) -> Run:
    """The run of a message that the pool was given."""
    [message] = [message for message in host.given if message.delivery.task_id == task_id]
    run = hand_over.received(task_id, message.headers)
    assert run is not None
    return run


def test_as_many_as_there_is_room_for(hand_over: HandOver, host: Host, gatekeeper: Gatekeeper) -> None:
    """Two steps may both have counted on the same room: what is too much is passed on."""
    assert hand_over.room() == 2
    assert names(hand_over.take([granted("a"), granted("b"), granted("c")])) == ["c"]
    assert (host.ids(), gatekeeper.passed_on) == (["a", "b"], ["c"])
    assert hand_over.room() == 0
    del host.given[0]
    assert names(hand_over.take([granted("d"), granted("e")])) == ["e"]
    assert host.ids() == ["b", "d"]


def test_a_slot_that_becomes_free_counts_as_free(hand_over: HandOver, host: Host) -> None:
    """A pool all of whose slots are busy goes on by itself: with what is granted when one of its runs ends."""
    hand_over.take([granted("a"), granted("b")])
    with hand_over.ending():
        assert hand_over.room() == 1
        assert hand_over.take([granted("c")]) == []
        with hand_over.ending():
            assert hand_over.room() == 1
    assert hand_over.room() == 0
    assert host.ids() == ["a", "b", "c"]


@pytest.mark.parametrize("other", [{"handler": "print"}, {"queue": "other.granted"}], ids=str)
def test_only_what_this_process_runs(
    other: dict[str, Any], hand_over: HandOver, host: Host, gatekeeper: Gatekeeper
) -> None:
    assert names(hand_over.take([granted("a", **other), granted("b")])) == ["a"]
    assert (host.ids(), gatekeeper.passed_on) == (["b"], ["a"])


def test_what_cannot_be_read_here_is_for_others(hand_over: HandOver, host: Host, gatekeeper: Gatekeeper) -> None:
    gatekeeper.strange = {"a"}
    assert names(hand_over.take([granted("a")])) == ["a"]
    assert (host.given, hand_over.leave()) == ([], [])


def test_what_is_no_delivery_keeps_nobody_back(
    hand_over: HandOver, host: Host, gatekeeper: Gatekeeper, caplog: pytest.LogCaptureFixture
) -> None:
    grant, message = granted("a")
    garbage = Message(message.delivery, message.headers, b"[]")
    assert names(hand_over.take([(grant, garbage), granted("b")])) == ["a"]
    assert (host.ids(), gatekeeper.passed_on) == (["b"], ["a"])
    assert "a, which was to run here, goes to the broker" in caplog.text


def test_what_redis_has_given_to_another_is_not_published(hand_over: HandOver, gatekeeper: Gatekeeper) -> None:
    """Its lease ended before it could be passed on, or Redis is away: there would be two messages of it."""
    gatekeeper.strange = {"a", "b"}
    gatekeeper.late = {"a"}
    assert names(hand_over.take([granted("a"), granted("b")])) == ["b"]


def test_what_has_not_begun_is_published_as_ever(hand_over: HandOver, host: Host, gatekeeper: Gatekeeper) -> None:
    assert names(hand_over.take([granted("a", begun=False)])) == ["a"]
    assert (host.given, gatekeeper.passed_on) == ([], [])


def test_the_pool_gets_the_run_that_was_read_and_begins_it_once(hand_over: HandOver, host: Host) -> None:
    """A copy of the message that the broker still has is of another grant, and asks for itself."""
    hand_over.take([granted("a")])
    assert hand_over.received("a", {"events-grant": 7}) is None
    run = received(hand_over, host, "a")
    assert (run.task_id, run.queue, run.token) == ("a", "q", 7)
    copy = Run.of("a", "mail", "q.granted", {"events-grant": 6}, {}, redelivered=False)
    assert not hand_over.begun(copy)
    assert hand_over.begun(run)
    assert not hand_over.begun(run)
    assert hand_over.received("a", host.given[0].headers) is None


def test_the_end(hand_over: HandOver, host: Host, gatekeeper: Gatekeeper) -> None:
    """What has not begun is told, once; nothing is taken any more."""
    hand_over.take([granted("a"), granted("b")])
    hand_over.begun(received(hand_over, host, "a"))
    assert [run.task_id for run in hand_over.leave()] == ["b"]
    assert hand_over.leave() == []
    assert hand_over.room() == 0
    assert names(hand_over.take([granted("c")])) == ["c"]
    assert gatekeeper.passed_on == ["c"]


def test_without_a_pool_nothing_is_taken(gatekeeper: Gatekeeper) -> None:
    hand_over = HandOver(gatekeeper)
    assert hand_over.room() == 0
    with hand_over.ending():
        assert hand_over.room() == 0
    assert names(hand_over.take([granted("a")])) == ["a"]


def test_what_the_pool_cannot_take_is_abandoned(hand_over: HandOver, host: Host, gatekeeper: Gatekeeper) -> None:
    """Else its lease would be renewed for ever."""
    host.open = False
    assert hand_over.take([granted("a")]) == []
    hand_over.give_up("a")
    assert gatekeeper.abandoned == ["a"]
    assert hand_over.leave() == []


def test_a_revoked_one_is_abandoned_but_not_one_that_runs(
    hand_over: HandOver, host: Host, gatekeeper: Gatekeeper
) -> None:
    hand_over.take([granted("a"), granted("b")])
    hand_over.begun(received(hand_over, host, "a"))
    for task_id in "ab":
        hand_over.give_up(task_id)
    assert gatekeeper.abandoned == ["b"]
