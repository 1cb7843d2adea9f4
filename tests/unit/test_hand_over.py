"""What one process takes over of what was granted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from events_core.admission.client import Grant
from events_core.admission.turns import Granted
from events_core.publishing.messages import Delivery, Message
from events_worker.limits.hand_over import HandOver
from events_worker.run import Run


class Host:
    """A pool with room for two, which runs `mail` of the queue `q.granted`."""

    @property
    def room(self) -> int:
        return 2 - len(self.given)

    def __init__(self) -> None:
        self.given: list[str] = []

    def runs(self, handler: str, queue: str) -> bool:
        return (handler, queue) == ("mail", "q.granted")

    def run(self, message: Message, give_up: Callable[[], None]) -> None:
        self.given.append(message.delivery.task_id)
        self.give_up = give_up


def admit_all(runs: Sequence[Run]) -> list[bool | None]:
    for run in runs:
        run.token = run.headers["events-grant"]
    return [True] * len(runs)


def nothing(run: Run) -> None:
    pass


def granted(task_id: str, handler: str = "mail", queue: str = "q.granted", token: int = 7) -> Granted:
    message = Message(Delivery(handler, task_id, queue), {"events-grant": token}, b"[[{}], {}, {}]")
    return Grant(task_id, token, ""), message


def names(left: list[Granted]) -> list[str]:
    return [grant.member for grant, _ in left]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def hand_over(host: Host) -> HandOver:
    made = HandOver(admit_all, nothing)
    made.open(host)
    return made


def begin(task_id: str, token: int = 7) -> Run:
    return Run.of(task_id, "mail", "q.granted", {"events-grant": token}, {}, redelivered=False)


def test_as_many_as_there_is_room_for(hand_over: HandOver, host: Host) -> None:
    assert hand_over.wanted()
    assert names(hand_over.take([granted("a"), granted("b"), granted("c")])) == ["c"]
    assert host.given == ["a", "b"]
    assert not hand_over.wanted()
    assert names(hand_over.take([granted("d")])) == ["d"]
    host.given.remove("a")
    assert names(hand_over.take([granted("d"), granted("e")])) == ["e"]
    assert host.given == ["b", "d"]


@pytest.mark.parametrize("other", [{"handler": "print"}, {"queue": "other.granted"}], ids=str)
def test_only_what_this_process_runs(other: dict[str, Any], hand_over: HandOver, host: Host) -> None:
    assert names(hand_over.take([granted("a", **other), granted("b")])) == ["a"]
    assert host.given == ["b"]


@pytest.mark.parametrize(("may", "left"), [(False, []), (None, ["a"])])
def test_what_may_not_begin(may: bool | None, left: list[str], host: Host) -> None:
    """It is parked again, and not published; what Redis was not asked for is."""
    hand_over = HandOver(lambda runs: [may] * len(runs), nothing)
    hand_over.open(host)
    assert names(hand_over.take([granted("a")])) == left
    assert host.given == []
    assert hand_over.leave() == []


def test_a_run_begins_once_and_with_its_own_token(hand_over: HandOver) -> None:
    """A copy of the message that the broker still has is of another grant, and asks for itself."""
    hand_over.take([granted("a", token=7)])
    assert hand_over.begun(begin("a", token=6)) is None
    assert hand_over.begun(begin("b")) is None
    ready = hand_over.begun(begin("a", token=7))
    assert ready is not None
    assert ready.token == 7
    assert hand_over.begun(begin("a", token=7)) is None


def test_the_end(hand_over: HandOver) -> None:
    """What has not begun is told, once; nothing is taken any more."""
    hand_over.take([granted("a"), granted("b")])
    hand_over.begun(begin("a"))
    assert [run.task_id for run in hand_over.leave()] == ["b"]
    assert hand_over.leave() == []
    assert names(hand_over.take([granted("c")])) == ["c"]


def test_without_a_pool_nothing_is_taken() -> None:
    hand_over = HandOver(admit_all, nothing)
    assert not hand_over.wanted()
    assert names(hand_over.take([granted("a")])) == ["a"]


def test_what_the_pool_cannot_take_is_abandoned_once(host: Host) -> None:
    """Else its lease would be renewed for ever."""
    abandoned: list[str] = []
    hand_over = HandOver(admit_all, lambda run: abandoned.append(run.task_id))
    hand_over.open(host)
    hand_over.take([granted("a")])
    host.give_up()
    host.give_up()
    assert abandoned == ["a"]
    assert hand_over.begun(begin("a")) is None


def test_a_revoked_one_is_abandoned_but_not_one_that_runs(host: Host) -> None:
    abandoned: list[str] = []
    hand_over = HandOver(admit_all, lambda run: abandoned.append(run.task_id))
    hand_over.open(host)
    hand_over.take([granted("a"), granted("b")])
    hand_over.begun(begin("a"))
    for task_id in "ab":
        hand_over.give_up(task_id)
    assert abandoned == ["b"]
