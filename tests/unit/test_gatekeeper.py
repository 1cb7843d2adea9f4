"""What the gatekeeper decides for itself: when Redis is told of a run's end, and what is parked before it is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from pydantic_core import from_json

from events_core import Breaker, DomainEvent, Limit
from events_core.admission.client import Grant
from events_core.coordination import Coordination
from events_core.envelope import Envelope
from events_core.event_map import EventMap
from events_core.publishing.messages import Delivery, Message
from events_worker.limits.gatekeeper import Gatekeeper
from events_worker.limits.leases import Lease
from events_worker.outcome import Busy, Dead, Done, Outcome, Settled
from events_worker.run import Run


class Leases:
    """Remembers how the releases were to be sent."""

    def __init__(self) -> None:
        self.at_once: list[bool] = []

    def drop(self, lease: Lease) -> None:
        pass

    def add(self, member: str, token: int, gates: list[str], lease_ms: int, first: int | None = None) -> Lease:
        return Lease(member, token, gates, lease_ms, 0.0)

    def release_soon(self, operation: list[Any], *, at_once: bool = False) -> None:
        self.at_once.append(at_once)


class Admission:
    """Parks whatever it is asked to."""

    def call_many(self, operations: list[list[Any]]) -> list[str]:
        return ["waits"] * len(operations)


class Turns:
    admission: Any = Admission()

    def stored(self, message: object) -> str:
        return ""


class Order(DomainEvent, event_type="gatekeeper.order"):
    pass


def make(event_map: EventMap) -> Gatekeeper:
    coordination: Any = Coordination(None, "")  # type: ignore[arg-type]
    turns: Any = Turns()
    gatekeeper = Gatekeeper(coordination, turns, event_map, lambda action: action(), lambda letter_id: True)
    gatekeeper._paused = frozenset()  # type: ignore[assignment]
    return gatekeeper


@pytest.mark.parametrize(
    ("granted", "others_wait", "at_once"),
    [
        pytest.param(True, False, True, id="who waits in Redis must not wait for a pause"),
        pytest.param(True, True, False, id="the next one's admission takes it along"),
        pytest.param(False, False, False, id="nobody was parked a moment ago"),
    ],
)
def test_a_release_is_sent_at_once(granted: bool, others_wait: bool, at_once: bool) -> None:
    gatekeeper = make(EventMap())
    gatekeeper._leases = leases = Leases()  # type: ignore[assignment]
    gatekeeper.others_wait = lambda: others_wait
    run = Run("id", "mail", "q", {}, None, granted=granted, lease=Lease("id", 1, ["limit:x|"], 1000, 0.0))
    gatekeeper.dismiss(run, Done())
    assert leases.at_once == [at_once]


class Early:
    """Has one run that comes next; remembers what was asked for, with what it takes along."""

    def __init__(self, upcoming: Run | None) -> None:
        self._upcoming, self.ahead = upcoming, self
        self.asked: list[tuple[Run, list[Any], list[Any]]] = []
        self.sent = True
        self.error: Exception | None = None

    def upcoming(self) -> Run | None:
        return self._upcoming

    def ask(self, run: Run, acquire: list[Any], release: list[Any]) -> bool:
        self.asked.append((run, acquire, release))
        if self.error is not None:
            raise self.error
        return self.sent


def order(name: str = "next", **headers: Any) -> Run:
    return Run.of(name, "mail", "q", headers, from_json(Envelope.of(Order()).to_json()), redelivered=False)


def dismissing(upcoming: Run | None, **options: Any) -> tuple[Gatekeeper, Early, Leases, list[Any]]:
    """A gatekeeper with somebody who comes next, and what it insists on."""
    event_map = EventMap()
    event_map.bind(Order, lambda event: None, name="mail", **{"limit": Limit("smtp", 1), **options})
    gatekeeper = make(event_map)
    told: list[Any] = []
    gatekeeper._leases = leases = Leases()  # type: ignore[assignment]
    gatekeeper.early = early = Early(upcoming)  # type: ignore[assignment]
    gatekeeper._insist = told.append
    return gatekeeper, early, leases, told


def ending(**state: Any) -> Run:
    return Run(
        "id", "mail", "q", {}, None, member="id", **{"lease": Lease("id", 1, ["limit:smtp|"], 1000, 0.0), **state}
    )


@pytest.mark.parametrize("granted", [False, True])
def test_a_release_goes_with_the_question_for_the_next_run(granted: bool) -> None:
    gatekeeper, early, leases, told = dismissing(order(**({"events-grant": 7} if granted else {})))
    gatekeeper.dismiss(ending(granted=granted), Done())
    [(run, acquire, release)] = early.asked
    assert acquire == ["acquire", "next", 1, ["limit:smtp|"], 30_000, 7 if granted else 0]
    assert release[:2] == ["release", "id"]
    assert run.event is not None  # and it is not read once more
    assert (leases.at_once, told) == ([], [])


@pytest.mark.parametrize(
    "upcoming",
    [
        pytest.param(None, id="nobody comes next"),
        pytest.param(Run.of("next", "mail", "q", {}, {"type": "nonsense"}, redelivered=False), id="cannot be read"),
        pytest.param(Run.of("next", "none", "q", {}, {}, redelivered=False), id="has no handler here"),
    ],
)
def test_where_nobody_is_asked_for_a_release_goes_as_ever(upcoming: Run | None) -> None:
    gatekeeper, early, leases, _ = dismissing(upcoming)
    gatekeeper.dismiss(ending(), Done())
    assert early.asked == []
    assert leases.at_once == [False]


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(False, None, id="Redis is away"),
        pytest.param(True, ValueError("surrogates not allowed"), id="its key cannot be sent"),
    ],
)
def test_nothing_about_the_next_run_fails_the_present_one(sent: bool, error: Exception | None) -> None:
    gatekeeper, early, leases, _ = dismissing(order())
    early.sent, early.error = sent, error
    gatekeeper.dismiss(ending(granted=True), Done())
    assert len(early.asked) == 1
    assert leases.at_once == [True]


def test_a_crowded_limit_is_not_asked_early() -> None:
    """Who comes now is parked in one step: an answer would be a step more."""
    gatekeeper, early, leases, _ = dismissing(order())
    gatekeeper._crowded.add("limit:smtp|", "mail")
    gatekeeper.dismiss(ending(), Done())
    assert early.asked == []
    assert leases.at_once == [False]


@pytest.mark.parametrize(
    ("gate", "headers"),
    [
        pytest.param({"ordered_by": lambda event: "x"}, {}, id="order"),
        pytest.param({}, {"events-group": "g"}, id="group"),
    ],
)
@pytest.mark.parametrize("granted", [False, True])
def test_what_redis_would_keep_for_it_is_asked_early_only_if_it_is_there(
    gate: dict[str, Any], headers: dict[str, Any], granted: bool
) -> None:
    """Else it would be kept for ever, should the run be dead before it begins: its message is the only one."""
    gatekeeper, early, leases, _ = dismissing(order(**headers, **({"events-grant": 7} if granted else {})), **gate)
    gatekeeper.dismiss(ending(), Done())
    assert len(early.asked) == granted
    assert leases.at_once == ([] if granted else [False])


def test_a_key_that_ends_the_process_loses_no_release() -> None:
    def leave(event: object) -> str:
        raise SystemExit

    gatekeeper, early, leases, _ = dismissing(order(), limit=Limit("smtp", 1, key=leave))
    with pytest.raises(SystemExit):
        gatekeeper.dismiss(ending(), Done())
    assert (early.asked, leases.at_once) == ([], [False])


def test_a_key_that_raises_is_not_asked_early() -> None:
    """The run itself tells what its key function raised."""
    gatekeeper, early, leases, _ = dismissing(order(), limit=Limit("smtp", 1, key=lambda event: 1 / 0))
    gatekeeper.dismiss(ending(), Done())
    assert early.asked == []
    assert leases.at_once == [False]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        pytest.param({"granted": True}, Dead("exhausted", ""), id="a granted one that is dead"),
        pytest.param({"recorded": True}, Done(), id="one of an order or a group"),
        pytest.param({}, Busy(1.0), id="a copy of it runs"),
    ],
)
def test_what_redis_must_hear_before_the_message_is_gone_waits_for_nobody(
    state: dict[str, Any], outcome: Outcome
) -> None:
    gatekeeper, early, leases, told = dismissing(order())
    gatekeeper.dismiss(ending(**state), outcome)
    assert (early.asked, leases.at_once) == ([], [])
    assert len(told) == 1


@pytest.mark.parametrize(
    ("options", "how"),
    [
        pytest.param({}, "waits", id="it would wait"),
        pytest.param({"fallback": print, "fallback_on": "exhausted"}, "waits", id="its fallback comes later"),
        pytest.param({"fallback": print, "fallback_on": "open"}, "asks", id="its fallback may run at once"),
    ],
)
def test_what_is_parked_before_it_asks(options: dict[str, Any], how: str) -> None:
    """Where nobody was blocked lately too: what has waited aside while Redis was away need not take a slot first."""
    event_map = EventMap()
    event_map.bind(Order, lambda event: None, name="mail", limit=Limit("smtp", 1), breaker=Breaker("crm"), **options)
    gatekeeper = make(event_map)
    payload = from_json(Envelope.of(Order()).to_json())
    run = Run.of("id", "mail", "q", {}, payload, redelivered=False)
    assert gatekeeper.line_up([run]) == [how]


def test_what_cannot_be_read_goes_to_the_pool_which_says_so() -> None:
    runs = [Run.of("id", name, "q", {}, payload, redelivered=False) for name, payload in (("mail", 7), ("none", {}))]
    assert make(EventMap()).line_up(runs) == ["asks", "asks"]


@pytest.mark.parametrize(
    ("limits", "number", "crowded"),
    [
        pytest.param([], 20, False, id="no limit"),
        pytest.param([Limit("a", 10)], 10, False, id="all may run"),
        pytest.param([Limit("a", 10)], 11, True, id="one may not"),
        pytest.param([Limit("a", 10), Limit("b", 3)], 4, True, id="by the narrower of two"),
        pytest.param([Limit("a", 3, key="event_id")], 20, False, id="each key has its own"),
    ],
)
def test_more_at_once_than_may_run_are_a_crowd(limits: list[Limit], number: int, crowded: bool) -> None:
    event_map = EventMap()
    event_map.bind(Order, lambda event: None, name="mail", limit=limits)
    assert make(event_map).is_crowded("mail", number) == crowded


@pytest.mark.parametrize(("fallback_on", "crowded"), [("open", False), ("both", False), ("exhausted", True)])
def test_whose_fallback_runs_is_never_crowded(fallback_on: str, crowded: bool) -> None:
    """It does not wait where it is blocked: set aside, it would only come later."""
    event_map = EventMap()
    policies = {"limit": Limit("a", 2), "breaker": Breaker("b")}
    event_map.bind(Order, lambda event: None, name="mail", fallback=print, fallback_on=fallback_on, **policies)
    assert make(event_map).is_crowded("mail", 3) == crowded


def granted_to(gatekeeper: Gatekeeper, *gates: str, unfinished: int = 0) -> tuple[Run, bool]:
    """A run whose message says so, and whether it begins."""
    run = order("id", **{"events-grant": 7})
    return run, gatekeeper.begin_granted(run, Grant("id", 7, "", unfinished, gates))


def reading(**options: Any) -> Gatekeeper:
    event_map = EventMap()
    event_map.bind(Order, lambda event: None, name="mail", **{"limit": Limit("smtp", 1), **options})
    gatekeeper = make(event_map)
    gatekeeper._leases = Leases()  # type: ignore[assignment]
    gatekeeper._insist = lambda action: None
    return gatekeeper


def test_what_was_granted_begins_as_redis_has_it() -> None:
    run, begins = granted_to(reading(), "limit:smtp|", unfinished=2)
    assert begins
    assert (run.token, run.granted, run.in_vain, run.redelivered) == (7, True, 2, True)
    assert run.lease is not None


@pytest.mark.parametrize(
    ("options", "gates"),
    [
        pytest.param({}, ["limit:crm|"], id="another limit"),
        pytest.param({}, ["limit:smtp|", "limit:crm|"], id="one that it had when it was parked"),
        pytest.param({"breaker": Breaker("crm")}, ["limit:smtp|"], id="one that it has not asked for"),
        pytest.param({"limit": None}, ["limit:smtp|"], id="none any more"),
        pytest.param({"limit": Limit("smtp", 1, key=lambda event: 1 / 0)}, ["limit:smtp|"], id="its key raises"),
    ],
)
def test_but_only_with_the_gates_that_it_has_here(options: dict[str, Any], gates: list[str]) -> None:
    """A lease that is not renewed at one of them would end all: it asks by itself, with those it has now."""
    run, begins = granted_to(reading(**options), *gates)
    assert not begins
    assert run.lease is None


def test_one_that_never_begins_is_given_up() -> None:
    """It was handed over, and is dead before it begins (too many hops): its lease is renewed no more."""
    gatekeeper = reading()
    dropped: list[Lease] = []
    gatekeeper._leases.drop = dropped.append  # type: ignore[method-assign]
    gatekeeper.hand_over.open(Pool())
    grant = Grant("id", 7, "", 0, ["limit:smtp|"])
    body = b"[[" + Envelope.of(Order()).to_json() + b"], {}, {}]"
    message = Message(Delivery("mail", "id", "q"), {"id": "id", "events-grant": 7}, body)
    assert gatekeeper.hand_over.take([(grant, message)]) == []
    run = gatekeeper.known("id", message.headers)
    assert run is not None
    gatekeeper.turn_away(order("id", **{"events-grant": 6}), Settled())  # an older copy of it, from the broker
    assert dropped == []
    gatekeeper.turn_away(run, Dead("too_many_hops", ""))
    assert dropped == [run.lease]
    assert gatekeeper.hand_over.leave() == []


class Pool:
    """Runs everything."""

    room = 1

    def runs(self, handler: str, queue: str) -> bool:
        return True

    def run(self, message: Message) -> bool:
        return True


class TestAReleaseFromTheSlot:
    """Where what is granted by it can begin here: it need not wait for the thread that sends the others."""

    def ending(self, error: Exception | None = None) -> tuple[Leases, list[Any]]:
        gatekeeper = reading()
        sent: list[Any] = []

        def call(operation: list[Any]) -> bool:
            sent.append((operation[0], gatekeeper.hand_over.room()))
            if error is not None:
                raise error
            return True

        gatekeeper._admission = SimpleNamespace(call=call)  # type: ignore[assignment]
        gatekeeper.hand_over.open(Pool())
        gatekeeper.dismiss(ending(granted=True), Done())
        leases: Any = gatekeeper._leases
        return leases, sent

    def test_it_is_sent_and_its_slot_is_free(self) -> None:
        leases, sent = self.ending()
        assert sent == [("release", 2)]
        assert leases.at_once == []

    def test_where_redis_is_away_the_thread_sends_it_again(self) -> None:
        leases, _ = self.ending(redis.ConnectionError())
        assert leases.at_once == [True]

    def test_what_is_wrong_with_the_next_one_does_not_fail_this_one(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nor is its release lost: the error may be that of another's operation in the same round trip."""
        leases, _ = self.ending(KeyError("task"))
        assert leases.at_once == [True]
        assert "waits until its lease ends" in caplog.text
