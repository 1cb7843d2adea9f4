"""What runs inline in a user's test does what a worker does: the same scenarios in both, with the same outcome."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from events_core import Event
from events_core.testing import CapturedEvents, capture
from tests.apps import inlined as app
from tests.apps import recording
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

#: What a handler recorded, and a dead letter: handler, reason, starts, type of the error.
Said = tuple[str, dict[str, Any]]
Letter = tuple[str, str, int, str]
_OF_A_PROCESS = ("what", "pid", "thread", "at")


class Place:
    """Where deliveries are run. What handlers recorded is in Redis, in both."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def emit(self, *events: Event, max_parallel: int | None = None) -> None:
        raise NotImplementedError

    def letters(self, tag: str) -> list[Letter]:
        raise NotImplementedError

    def said(self, tag: str) -> list[Said]:
        lines = self.rig.records(tag)
        return [(line["what"], {k: v for k, v in line.items() if k not in _OF_A_PROCESS}) for line in lines]

    def expect(self, tag: str, said: Sequence[Said], letters: Sequence[Letter] = ()) -> None:
        """Waits until this has happened, in any order, and nothing else."""
        wanted = (sorted(said, key=repr), sorted(letters))

        def seen() -> tuple[list[Said], list[Letter]]:
            return sorted(self.said(tag), key=repr), sorted(self.letters(tag))

        try:
            wait_until(lambda: seen() == wanted, 20.0)
        except AssertionError:
            assert seen() == wanted


class InWorker(Place):
    def emit(self, *events: Event, max_parallel: int | None = None) -> None:
        if max_parallel is None:
            self.rig.emit_many(events)
        else:
            done = app.AllDone(tag=events[0].tag)  # type: ignore[attr-defined]
            self.rig.system.emit_group(events, max_parallel=max_parallel, on_complete=done)

    def letters(self, tag: str) -> list[Letter]:
        found = [letter for letter in self.rig.letters() if tag in str(letter.message)]
        return [(str(each.handler), each.reason, each.starts, each.error_type) for each in found]


class Inline(Place):
    def __init__(self, rig: Rig, captured: CapturedEvents) -> None:
        super().__init__(rig)
        self.captured = captured

    def emit(self, *events: Event, max_parallel: int | None = None) -> None:
        if max_parallel is None:
            app.events.emit_many(events)
        else:
            done = app.AllDone(tag=events[0].tag)  # type: ignore[attr-defined]
            app.events.emit_group(events, max_parallel=max_parallel, on_complete=done)
        self.captured.run_until_idle()

    def letters(self, tag: str) -> list[Letter]:
        return [
            (letter.handler, letter.reason, letter.starts, type(letter.exception).__name__ if letter.exception else "")
            for letter in self.captured.dead
        ]


@pytest.fixture(scope="module")
def system(redis_server: Any) -> Iterator[Rig]:
    with rig(app, "redis", redis_server, max_hops=4) as made:
        made.worker(concurrency=2)
        yield made


@pytest.fixture(params=["worker", "inline"])
def place(request: pytest.FixtureRequest, system: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "worker":
        yield InWorker(system)
        return
    for name in (recording.URL, recording.KEY):
        monkeypatch.setenv(name, str(system.environment()[name]))
    recording._client.cache_clear()
    with capture(app.events) as captured:
        yield Inline(system, captured)
    recording._client.cache_clear()


@pytest.fixture
def tag() -> str:
    return uuid.uuid4().hex


def name(handler: str) -> str:
    return f"{app.__name__}.{handler}"


def starts(what: str, number: int) -> list[Said]:
    return [(what, {"number": count}) for count in range(1, number + 1)]


def test_functions_coroutines_and_classes_with_dependencies(place: Place, tag: str) -> None:
    place.emit(app.Plain(tag=tag))
    place.expect(tag, [("plain", {}), ("plain_async", {}), ("WithDesk", {"said": "stamped"})])


def test_retried_and_done_with_the_follow_ups_of_the_successful_run_only(place: Place, tag: str) -> None:
    place.emit(app.Unsteady(tag=tag, times=2))
    place.expect(tag, [*starts("unsteady", 3), ("link", {"number": 100}), ("link", {"number": 200})])


def test_exhausted_without_any_follow_up(place: Place, tag: str) -> None:
    place.emit(app.Unsteady(tag=tag, times=99))
    place.expect(tag, starts("unsteady", 3), [(name("unsteady"), "exhausted", 3, "ConnectionError")])


def test_given_up_in_each_way(place: Place, tag: str) -> None:
    place.emit(app.Hopeless(tag=tag))
    place.expect(
        tag,
        [*starts("gives_up", 1), *starts("gives_up_on", 1), *starts("never_again", 1)],
        [
            (name("gives_up"), "gave_up", 1, "GiveUp"),
            (name("gives_up_on"), "gave_up", 1, "KeyError"),
            (name("never_again"), "exhausted", 1, "ConnectionError"),
        ],
    )


def test_retry_later_counts_no_attempt(place: Place, tag: str) -> None:
    place.emit(app.Postponed(tag=tag))
    place.expect(tag, starts("postpones", 4))


def test_a_chain_of_events(place: Place, tag: str) -> None:
    place.emit(app.Chained(tag=tag))
    place.expect(tag, [("link", {"number": number}) for number in range(3)])


def test_a_chain_without_end_ends_at_max_hops(place: Place, tag: str) -> None:
    place.emit(app.Endless(tag=tag))
    place.expect(tag, [("endless", {})] * 5, [(name("endless"), "too_many_hops", 0, "")])


def test_what_is_no_event_is_ignored_when_it_is_returned(place: Place, tag: str) -> None:
    place.emit(app.Odd(tag=tag))
    place.expect(tag, [("odd", {})])


def test_events_mixed_with_something_else_fail(place: Place, tag: str) -> None:
    place.emit(app.Odd(tag=tag, mixed=True))
    place.expect(tag, [("odd", {})], [(name("odd"), "exhausted", 1, "NotAnEvent")])


def test_a_fallback_runs_once_the_handler_is_exhausted(place: Place, tag: str) -> None:
    place.emit(app.Rescued(tag=tag))
    place.expect(tag, [*starts("needs_rescue", 3), ("rescue", {}), ("link", {"number": 2})])


def test_each_handler_has_a_copy_of_its_own(place: Place, tag: str) -> None:
    place.emit(app.Listed(tag=tag, items=[1]))
    place.expect(tag, [("changed", {"items": [1, 99]}), ("own", {"items": [1]})])


def test_what_comes_later_in_an_order_waits_for_a_retry(place: Place, tag: str) -> None:
    place.emit(*(app.Ordered(tag=tag, key="k", number=number, times=2 if number == 1 else 0) for number in (1, 2, 3)))
    order = [("ordered", {"key": "k", "number": number}) for number in (1, 1, 1, 2, 3)]
    place.expect(tag, order)
    assert place.said(tag) == order


def test_what_is_dead_holds_its_order(place: Place, tag: str) -> None:
    place.emit(app.Held(tag=tag, number=1), app.Held(tag=tag, number=2))
    place.expect(tag, [("held", {"number": 1})], [(name("held"), "exhausted", 1, "ValueError")])


def test_a_coroutine_is_cancelled_when_its_time_is_over(place: Place, tag: str) -> None:
    place.emit(app.Slow(tag=tag))
    place.expect(tag, starts("slow", 1), [(name("slow"), "exhausted", 1, "HandlerTimeout")])


def test_a_group_of_one_at_a_time_counts_and_completes(place: Place, tag: str) -> None:
    place.emit(*(app.Member(tag=tag, number=number) for number in range(4)), max_parallel=1)
    members = [("member", {"number": number}) for number in (0, 1, 1, 2, 3)]
    done = ("all_done", {"total": 4, "done": 3, "dead": 1})
    place.expect(tag, [*members, *starts("the second", 2), done], [(name("member"), "gave_up", 1, "GiveUp")])
    assert [line for line in place.said(tag) if line[0] == "member"] == members
