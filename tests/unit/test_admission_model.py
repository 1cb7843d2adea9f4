"""The admission scripts against a model: whatever vanishes, repeats or is resized, promises hold after each step.

The model is the world around the scripts: copies of messages in a broker that keeps them until they are acknowledged,
workers that run, vanish or stand still, and a ledger of what was settled. What the scripts should have done is not
predicted step by step; what must be true of it is looked up after each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from events_core.admission.client import Blocked, Go, Grant, Parked, Stale
from tests.support.admission import LEASE, PREFIX, Gatehouse

ORDER, OTHER, PAUSE = "order:h|7", "order:h|8", "pause:h|"
ONE, TWO, KEYED, KEYED_2 = "limit:one|", "limit:two|", "limit:keyed|1", "limit:keyed|2"
GROUP = "group:g|"
LIMITS = [ONE, TWO, KEYED, KEYED_2, GROUP]
GATES = [*LIMITS, ORDER, OTHER, PAUSE]
HANDLERS = [[ONE], [TWO], [KEYED], [KEYED_2, TWO], [ONE, TWO], [TWO, KEYED]]
HANDLERS += [[ORDER], [ORDER, TWO], [OTHER, ONE, KEYED], [GROUP], [GROUP, ONE], [ORDER, GROUP]]

#: All that is left in the end: what is known of the group.
RESULT = {"group:g", "groups:completed"}


@dataclass
class Member:
    """A delivery. run: its current one. settled: the last run that was settled. place: among those of its order."""

    name: str
    gates: list[str]
    run: int = 1
    settled: int = 0
    over: bool = False


@dataclass
class Copy:
    """A message in the broker. runs: the token with which a worker runs it; then it is kept.

    stored: it runs where it was granted, and there is no message of it but that in Redis.
    """

    member: Member
    run: int
    token: int = 0
    runs: int | None = None
    gates: list[str] = field(default_factory=list)
    stored: bool = False


@dataclass
class View:
    """What Redis has now."""

    held: dict[str, dict[str, float]]
    waiting: dict[str, dict[str, float]]
    info: dict[str, dict]
    messages: dict[str, str]


class Admitting(RuleBasedStateMachine):
    house: Gatehouse  # set by the test: one connection for all examples

    def __init__(self) -> None:
        super().__init__()
        self.house.client.flushdb()
        self.house.grants.clear()
        self.make_room(0)
        self.places = {"one": 1, "two": 2, "keyed": 1, "g": 2}
        assert self.house.call(["open", "g", 2, 10**9, {}])
        self.house.declare(order_h="continue", limit_one=1, limit_two=2, limit_keyed=1)
        self.members: list[Member] = []
        self.broker: list[Copy] = []
        self.zombies: list[Copy] = []
        self.late: list[tuple[Copy, str]] = []
        self.paused = False
        self.ended: list[Member] = []
        self.before = self.look()

    # What happens.

    @rule(places=st.integers(0, 2))
    def make_room(self, places: int) -> None:
        """For what is granted from now on: so many of one step run where they are granted."""
        self.house.admission.room = lambda: places

    @rule(gates=st.sampled_from(HANDLERS))
    def emit(self, gates: list[str]) -> None:
        member = Member(f"m{len(self.members)}", gates)
        self.members.append(member)
        if gates[0] in (ORDER, OTHER, GROUP):
            assert self.house.enter(member.name, *gates, group="g" if GROUP in gates else None)
        else:
            self.broker.append(Copy(member, 1))

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), dies=st.booleans(), crowded=st.booleans())
    def deliver(self, data: st.DataObject, dies: bool, crowded: bool) -> None:
        """To a worker, which may die before it parks what was blocked, or before it acknowledges what it parked."""
        self.receive(data.draw(st.sampled_from(self.idle())), dies, crowded)

    @precondition(lambda self: self.idle())
    @rule(crowded=st.booleans())
    def deliver_all(self, crowded: bool) -> None:
        for copy in self.idle():
            self.receive(copy, crowded=crowded)

    @precondition(lambda self: self.house.grants)
    @rule(lost=st.booleans())
    def hand_on(self, lost: bool) -> None:
        """What was granted is published, or its publisher has died."""
        grants = self.house.take()
        if not lost:
            self.publish(grants)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), result=st.sampled_from(["done", "done", "dead", "retry"]))
    def finish(self, data: st.DataObject, result: str) -> None:
        self.settle(data.draw(st.sampled_from(self.running())), result)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), result=st.sampled_from(["done", "dead", "retry"]))
    def finish_before_it_is_heard(self, data: st.DataObject, result: str) -> None:
        """What may: its message is acknowledged, its next run may come, and Redis hears later of its end."""
        copy = data.draw(st.sampled_from(self.running()))
        if result == "done" if copy.token else not {ORDER, OTHER, GROUP} & set(copy.gates):
            self.record(copy, result)
            self.broker.remove(copy)
            self.late.append((copy, result))

    @precondition(lambda self: self.late)
    @rule()
    def hear(self) -> None:
        for copy, result in self.late:
            self.release(copy, result)
        self.late.clear()

    @precondition(lambda self: self.running())
    @rule(data=st.data(), result=st.sampled_from(["done", "dead", "retry"]))
    def finish_after_the_lease(self, data: st.DataObject, result: str) -> None:
        """A worker could not renew for long, ends well, and acknowledges the message: there may be no other."""
        copy = data.draw(st.sampled_from(self.running()))
        self.time_passes(without=copy)
        self.record(copy, result)
        self.release(copy, result)
        self.broker.remove(copy)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), result=st.sampled_from([None, "done", "retry"]))
    def vanish(self, data: st.DataObject, result: str | None) -> None:
        """A worker dies; or it had settled the run, and dies before it releases. The broker delivers again."""
        copy = data.draw(st.sampled_from(self.running()))
        if result:
            self.record(copy, result)
        self.stop(copy)

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def never_begin(self, data: st.DataObject) -> None:
        """It was asked for early, and is not run; the broker delivers it again."""
        copy = data.draw(st.sampled_from(self.running()))
        relinquish = ["relinquish", copy.member.name, copy.runs, copy.gates]
        assert self.house.call(relinquish)
        self.house.call(relinquish)  # said twice
        self.stop(copy)

    @precondition(lambda self: any(copy.stored for copy in self.running()))
    @rule(data=st.data())
    def cannot_run_it(self, data: st.DataObject) -> None:
        """Who was granted it is not the one to run it."""
        self.pass_on(data.draw(st.sampled_from([copy for copy in self.running() if copy.stored])))

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def stand_still(self, data: st.DataObject) -> None:
        """A worker is stopped, and does not renew; the broker gives its message to another."""
        copy = data.draw(st.sampled_from(self.running()))
        self.zombies.append(Copy(copy.member, copy.run, runs=copy.runs, gates=copy.gates))
        self.stop(copy)

    @rule()
    def time_passes(self, without: Copy | None = None) -> None:
        """The leases of the living are renewed, and no others: what these held is free, and zombies are refused."""
        for _ in range(3):
            for copy in self.running():
                assert copy.runs is not None
                assert copy is without or self.house.renew(copy.member.name, copy.runs, copy.gates, LEASE)
            self.house.advance(LEASE // 2)
        self.sweep()
        for zombie in self.zombies:
            assert zombie.runs is not None
            assert not self.house.renew(zombie.member.name, zombie.runs, zombie.gates, LEASE)
            info = self.house.info(zombie.member.name)
            last = info.get("state") == "leaving" and info["run"] == zombie.run
            if last:  # Redis knows of no other message than its own; it has ended, then, and in its turn
                self.record(zombie, "done")
            assert self.release(zombie, "done") == last
        self.zombies.clear()

    @precondition(lambda self: self.messages())
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The broker did not hear an acknowledgement, or gives a message to two."""
        copy = data.draw(st.sampled_from(self.messages()))
        self.broker.append(Copy(copy.member, copy.run, copy.token))

    @rule(name=st.sampled_from(["one", "two", "keyed"]), places=st.integers(0, 4))
    def resize(self, name: str, places: int) -> None:
        self.places[name] = places
        self.house.call(["override", f"limit:{name}", str(places)])
        self.sweep()

    @rule()
    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        self.house.call(["pause" if self.paused else "resume", "h"])

    @precondition(lambda self: any(self.before.held[gate] for gate in LIMITS))
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        """An operator takes the place of a holder that seems dead; if it was not, it is a zombie now."""
        gate = data.draw(st.sampled_from([gate for gate in LIMITS if self.before.held[gate]]))
        name = data.draw(st.sampled_from(sorted(self.before.held[gate])))
        assert self.house.call(["evict", name, gate])
        for copy in self.running():
            if copy.member.name == name:
                self.zombies.append(Copy(copy.member, copy.run, runs=copy.runs, gates=copy.gates))
                self.stop(copy)

    @rule()
    def sweep(self) -> None:
        while self.house.sweep()[0] == 0:
            pass

    # What it means.

    def idle(self) -> list[Copy]:
        return [copy for copy in self.broker if copy.runs is None]

    def running(self) -> list[Copy]:
        return [copy for copy in self.broker if copy.runs is not None]

    def messages(self) -> list[Copy]:
        return [copy for copy in self.broker if not copy.stored]

    def stop(self, copy: Copy) -> None:
        """It runs no more: the broker delivers it again, if it has it."""
        copy.runs = None
        if copy.stored:
            self.broker.remove(copy)

    def publish(self, grants: list[Grant]) -> None:
        for grant in grants:
            self.broker.append(self.granted(grant))
        self.house.call(["sent", [(grant.member, grant.token) for grant in grants]])

    def granted(self, grant: Grant) -> Copy:
        [member] = [member for member in self.members if member.name == grant.member]
        return Copy(member, int(grant.message.rsplit(" ", 1)[1]), grant.token)

    def run_begun(self) -> None:
        """What has begun with its grant runs; but where its handler is paused since it was parked, it asks again."""
        while begun := [grant for grant in self.house.grants if grant.unfinished is not None]:
            for grant in begun:
                self.house.grants.remove(grant)
                copy = self.granted(grant)
                copy.runs, copy.gates, copy.stored = grant.token, list(grant.gates), True
                if self.house.info(grant.member).get("run", copy.run) > copy.run:  # the next run has come since
                    assert copy.run <= copy.member.settled
                    assert not self.release(copy, "done"), "the places are the next run's"
                    continue
                self.broker.append(copy)
                if self.paused and PAUSE not in copy.gates:
                    self.pass_on(copy)
                elif copy.run <= copy.member.settled:
                    self.settle(copy, "done" if copy.member.over else "retry")

    def pass_on(self, copy: Copy) -> None:
        name, token = copy.member.name, copy.runs
        assert self.house.call(["pass_on", name, token])
        assert not self.house.call(["pass_on", name, token])
        copy.stored, copy.runs = False, None

    def receive(self, copy: Copy, dies: bool = False, crowded: bool = False) -> None:
        member, name = copy.member, copy.member.name
        ordered = [gate for gate in member.gates if gate in (ORDER, OTHER, GROUP)]
        limits = [gate for gate in member.gates if gate not in ordered]
        gates = [*ordered, *([PAUSE] if self.paused else []), *limits]
        message = f"{name} {copy.run}"
        lines_up = crowded and not copy.token
        if lines_up and self.house.call(["line_up", name, copy.run, gates, message]) != "asks":
            if not dies:
                self.broker.remove(copy)
            return
        answer = self.house.acquire(name, copy.run, gates, LEASE, token=copy.token)
        if isinstance(answer, Blocked) and not dies:
            answer = self.house.park(name, copy.run, gates, LEASE, message)
            assert not isinstance(answer, Blocked)
        match answer:
            case Go(token):
                copy.gates, copy.runs = gates, token
                if copy.run <= member.settled:  # the ledger says that it has ended, and how
                    self.settle(copy, "done" if member.over else "retry")
            case Parked():  # or it was settled, and did not release
                assert self.house.client.hexists(f"{PREFIX}parked:messages", name) or copy.run <= member.settled
                self.broker.remove(copy)
            case Stale():
                assert copy.run <= member.settled
                self.broker.remove(copy)

    def settle(self, copy: Copy, result: str) -> None:
        assert copy.runs is not None
        self.record(copy, result)
        assert self.release(copy, result)
        self.broker.remove(copy)

    def release(self, copy: Copy, result: str) -> bool:
        assert copy.runs is not None
        release = self.house.admission.release
        return release(copy.member.name, copy.runs, copy.gates, result, failed=False, run=copy.run)

    def record(self, copy: Copy, result: str) -> None:
        """In the ledger, once; the next run is in the schedule in the same moment."""
        member = copy.member
        if copy.run <= member.settled:
            return
        member.settled = copy.run
        if result == "retry":
            member.run += 1
            self.broker.append(Copy(member, member.run))
        else:
            member.over = True
            self.ended.append(member)

    # What must be true.

    def look(self) -> View:
        pipe = self.house.client.pipeline(transaction=True)
        for kind in ("held", "waiting"):
            for gate in GATES:
                pipe.zrange(f"{PREFIX}gate:{kind}:{gate}", 0, -1, withscores=True)
        pipe.hgetall(f"{PREFIX}parked:info").hgetall(f"{PREFIX}parked:messages")
        *scores, info, messages = pipe.execute()
        held = dict(zip(GATES, map(dict, scores[: len(GATES)]), strict=True))
        waiting = dict(zip(GATES, map(dict, scores[len(GATES) :]), strict=True))
        return View(held, waiting, {name: json.loads(text) for name, text in info.items()}, messages)

    def limit(self, gate: str) -> int:
        return self.places[gate.partition(":")[2].partition("|")[0]] if gate in LIMITS else 1

    @invariant()
    def holds(self) -> None:
        self.run_begun()
        now = self.look()
        if any(now.waiting[gate] and self.free(now, gate) for gate in GATES):
            self.sweep()
            self.run_begun()
            now = self.look()
        self.check_places(now)
        self.check_waiting(now)
        self.check_order(now)
        self.check_nothing_is_lost(now)
        self.before = now

    def free(self, view: View, gate: str) -> bool:
        return not self.paused if gate == PAUSE else len(view.held[gate]) < self.limit(gate)

    def check_places(self, now: View) -> None:
        for gate in GATES:
            new = now.held[gate].keys() - self.before.held[gate].keys()
            assert len(now.held[gate]) <= self.limit(gate) or not new, f"{gate}: {now.held[gate]}"
        names = [copy.member.name for copy in self.running()]
        assert len(names) == len(set(names)), "one delivery runs twice"
        for copy in self.running():
            for gate in copy.gates:
                assert gate == PAUSE or copy.member.name in now.held[gate], f"{copy} does not hold {gate}"

    def check_waiting(self, now: View) -> None:
        at = [(name, gate) for gate in GATES for name in now.waiting[gate]]
        assert len({name for name, _ in at}) == len(at), "one waits twice"
        for name, gate in at:
            assert not any(name in now.held[limit] for limit in LIMITS), f"{name} holds a place while it waits"
            assert name not in now.held[gate]
            assert (now.info[name]["state"], now.info[name]["at"]) == ("waiting", gate)
            assert name in now.messages
            assert not self.free(now, gate), f"{name} waits at {gate}, which has room"

    def check_order(self, now: View) -> None:
        for gate in GATES:
            # One that has waited here all the time, and for nothing else: one with a pause among its gates may have to
            # let the first one at that go before it.
            patient = [
                place
                for name, place in now.waiting[gate].items()
                if name in self.before.waiting[gate]
                and (gate not in LIMITS or len({*LIMITS, PAUSE} & set(now.info[name]["gates"])) == 1)
            ]
            for name in now.held[gate].keys() - self.before.held[gate].keys():
                place = now.info[name]["place"] if name in now.info else float("inf")
                assert all(place < other for other in patient), f"{name} has overtaken at {gate}"
        for gate in (ORDER, OTHER):
            numbers = [int(member.name[1:]) for member in self.ended if gate in member.gates]
            assert numbers == sorted(numbers), "out of order"

    def check_nothing_is_lost(self, now: View) -> None:
        in_broker = {(copy.member.name, copy.run) for copy in self.messages()}
        for member in self.members:
            assert (
                member.over or (member.name, member.run) in in_broker
                or now.messages.get(member.name) == f"{member.name} {member.run}"
            ), f"nobody has {member}"  # fmt: skip

    def teardown(self) -> None:
        """Everything comes to its end, and nothing is left."""
        if self.paused:
            self.pause_or_resume()
        self.hear()
        for name in ("one", "two", "keyed"):
            self.resize(name, 1)
        assert self.house.call(["seal", "g"])
        for _ in range(10 + 5 * len(self.members)):
            if not self.broker and all(member.over for member in self.members) and self.house.left() == RESULT:
                return self.check_group()
            self.run_begun()
            self.publish(self.house.take())
            self.deliver_all(crowded=False)
            self.run_begun()
            for copy in self.running():
                self.settle(copy, "done")
            self.holds()
            self.time_passes()
        raise AssertionError(f"left: {self.house.left()}, {self.members}, {self.broker}")

    def check_group(self) -> None:
        members = [member for member in self.members if GROUP in member.gates]
        state, _, total, done, dead, cancelled, retrying, taken = self.house.call(["progress", "g"])
        assert (state, total, done + dead) == ("completed", len(members), len(members))
        assert (cancelled, retrying, taken) == (0, 0, 0)


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    yield house
    house.close()


def test_promises_hold_whatever_happens(house: Gatehouse) -> None:
    run_state_machine_as_test(
        type("Admitting", (Admitting,), {"house": house}),
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,  # it shrinks for minutes otherwise
        ),
    )
