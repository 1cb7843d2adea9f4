"""What an order, a group or a limit keeps of a delivery is given up however that ends; what follows runs then.

On a real Redis, with the test in the place of worker and broker.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from events_core import Breaker, DomainEvent, EventSystem, GiveUp, Limit, Retry
from events_core.admission.gates import passage
from events_core.envelope import Envelope
from events_core.ids import delivery_id
from events_core.publishing.messages import Message
from events_worker.dead_letters import DeadLetter
from events_worker.dead_letters.redrive import next_generation
from events_worker.groups import look_after_groups
from events_worker.ledger import settle_script
from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Settled
from events_worker.parts import parts_of
from events_worker.run import Run
from tests.support.redis_server import RedisServer

NAME = "order.pack"
ORDERED: dict[str, Any] = {"name": NAME, "ordered_by": "key", "retry": None}
HOLDS = {**ORDERED, "on_dead": "hold"}
RETRIED = {**ORDERED, "retry": Retry(max_attempts=3)}


class Pack(DomainEvent, event_type="endings.pack"):
    key: str = "x"
    number: int = 1


class Worker:
    """One deployment's code: its system, what it was granted, and how its handler ends."""

    def __init__(self, server: RedisServer, options: dict[str, Any] | None, **settings: Any) -> None:
        url = server.url()
        self.system = EventSystem("endings", broker_url=server.url(1), redis_url=url, **settings)
        self.client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)
        self.error: type[BaseException] | None = None
        self.ran: list[int] = []
        self.begun: Callable[[], object] = lambda: None
        if options is not None:
            self.system.bind(Pack, self.pack, **options)
        self.parts = parts_of(self.system)
        self._granted: list[Message] = []
        for turns in (self.parts.turns, self.system.emitter.turns):
            turns.left_by_us = self._take
            turns.admission.takes = lambda: True
        self.parts.gatekeeper.declare()
        self.sweep()

    def pack(self, event: Pack) -> None:
        self.ran.append(event.number)
        self.begun()
        if self.error is not None:
            raise self.error

    def _take(self, granted: Any) -> list[Any]:
        self._granted += [message for _, message in granted]
        return []

    def close(self) -> None:
        self.system.close()
        self.client.close()

    def key(self, name: str) -> str:
        return self.parts.coordination.key(name)

    def sweep(self) -> None:
        for turns in (self.parts.turns, self.system.emitter.turns):
            turns.admission.call(["sweep"])

    def message(self, event: Pack, **headers: Any) -> Message:
        """Of a delivery that nobody has parked."""
        envelope = Envelope.of(event)
        [made] = self.system.messages.messages(
            self.system.event_map.route(Pack), event, envelope, envelope.to_json(), None
        )
        made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return made

    def granted(self) -> list[Message]:
        found, self._granted = self._granted, []
        return found

    def run_of(self, message: Message, *, redelivered: bool = False) -> Run:
        headers, payload = dict(message.headers), json.loads(message.body)[0][0]
        return Run.of(headers["id"], message.delivery.handler, "q", headers, payload, redelivered=redelivered)

    def execute(self, message: Message, *, redelivered: bool = False) -> Outcome:
        outcome = self.parts.execution.execute(self.run_of(message, redelivered=redelivered))
        self.sweep()
        return outcome

    def due(self) -> list[Message]:
        """All that is in the schedule, whenever it is due."""
        schedule = self.parts.schedule
        for member in self.client.zrange(schedule.keys[0], 0, -1):
            self.client.zadd(schedule.keys[0], {member: 0})
        claim = schedule.claim()
        schedule.sent(claim, list(claim.messages))
        return [stored.message() for stored in claim.messages.values()]

    def letter(self) -> DeadLetter:
        [found] = self.parts.dead_letters.find()
        return found

    def redrive(self, *, redelivered: bool = False) -> Outcome:
        letter = self.letter()
        outcome = self.execute(next_generation(self.system, letter).message(), redelivered=redelivered)
        self.parts.dead_letters.remove(letter)
        return outcome

    def begin_and_die(self, message: Message) -> None:
        """As if the worker were killed, and all leases had ended since."""
        run = self.run_of(message)
        self.parts.execution._decode(run)
        self.parts.execution._verify(run)
        assert self.parts.gatekeeper.admit(run) is None
        self.parts.gatekeeper.abandon(run)
        for key in self.client.scan_iter(self.key("gate:held:*")):
            for member, score in self.client.zrange(key, 0, -1, withscores=True):
                if score < 2**52:
                    self.client.zadd(key, {member: 1})
        for key in (self.key("gates:due"), self.key("gates:granted")):
            for member in self.client.zrange(key, 0, -1):
                self.client.zadd(key, {member: 1})
        self.sweep()

    def left(self) -> list[str]:
        """What admission still keeps."""
        return [*self.client.hkeys(self.key("parked:info")), *self.client.scan_iter(self.key("gate:held:*"))]

    def goes_on(self) -> bool:
        """Whether a new event of the key is granted at once, done, and leaves nothing."""
        self.error = None
        self.system.emit(Pack(number=99))
        [message] = self.granted()
        assert self.execute(message) == Done()
        return self.ran[-1] == 99 and self.left() == []


Make = Callable[..., Worker]


@pytest.fixture
def make(redis_server: RedisServer) -> Iterator[Make]:
    """Makes a deployment; the first one finds an empty Redis."""
    redis_server.empty()
    made: list[Worker] = []

    def deploy(options: dict[str, Any] | None, **settings: Any) -> Worker:
        made.append(Worker(redis_server, options, **settings))
        return made[-1]

    yield deploy
    for worker in made:
        worker.close()


def drained(*workers: Worker) -> None:
    """All that is granted runs, until nothing is left."""
    for _ in range(10):
        for worker in workers:
            worker.error = None
            for message in [*worker.granted(), *worker.due()]:
                worker.execute(message)
    assert workers[0].left() == []


class TestDeploys:
    def test_an_order_that_is_removed_while_one_waits_for_its_retry(self, make: Make) -> None:
        """The new code does not ask for the order any more: what is kept of it is given up all the same."""
        old = make(RETRIED)
        old.system.emit_many([Pack(number=1), Pack(number=2)])
        old.error = ValueError
        assert isinstance(old.execute(*old.granted()), Delayed)
        new = make({"name": NAME})
        for message in new.due():
            assert new.execute(message) == Done()
        drained(new, old)
        assert old.ran + new.ran == [1, 1, 2]

    def test_an_order_that_is_removed_while_a_dead_one_holds_it(self, make: Make) -> None:
        old = make(HOLDS)
        old.system.emit_many([Pack(number=1), Pack(number=2)])
        old.error = ValueError
        assert isinstance(old.execute(*old.granted()), Dead)
        new = make({"name": NAME})
        assert new.redrive() == Done()
        drained(new, old)
        assert new.ran + old.ran[1:] == [1, 2]

    @pytest.mark.parametrize("dies", ["before", "after"])
    @pytest.mark.parametrize("then", ["redriven", "discarded", "forgotten"])
    def test_a_handler_that_is_renamed_while_a_dead_one_holds_its_order(self, make: Make, dies: str, then: str) -> None:
        old = make(HOLDS, dead_retention=1)
        old.system.emit_many([Pack(number=1), Pack(number=2)])
        new = make({**HOLDS, "name": "order.renamed", "aliases": [NAME]}, dead_retention=1)
        first = old if dies == "before" else new
        first.error = ValueError
        assert isinstance(first.execute(*old.granted()), Dead)
        new.error = None
        if then == "redriven":
            assert new.redrive() == Done()
        elif then == "discarded":
            new.parts.dead_letters.discard(new.letter())
        else:
            new.client.zadd(new.key("dead"), {new.letter().id: 1})
            assert new.parts.dead_letters.prune() == 1
        new.sweep()
        drained(new, old)
        assert (old.ran + new.ran)[-1] == 2
        assert new.parts.dead_letters.count() == 0

    def test_a_redriven_one_whose_handler_nobody_knows_any_more(self, make: Make) -> None:
        worker = make(RETRIED)
        worker.system.emit(Pack())
        worker.error = GiveUp
        worker.execute(*worker.granted())
        worker.error = ValueError
        assert isinstance(worker.redrive(), Delayed)
        ignorant = make(None, unknown_grace=0.001)
        [message] = worker.due()
        while not isinstance(outcome := ignorant.execute(message), Dead):
            assert isinstance(outcome, Held)
            [message] = worker.due()
        assert outcome.reason == "unknown_handler"
        assert worker.goes_on()


class TestCopies:
    @pytest.mark.parametrize("then", ["redriven", "discarded"])
    def test_an_event_that_comes_again_when_its_letter_is_gone(self, make: Make, then: str) -> None:
        """Another service's, of which there may be two messages: it is dead, but nothing would end its hold."""
        worker = make(HOLDS)
        event = Pack()

        def come(name: str) -> Message:
            message = worker.message(event, events_once=name)
            message.gates = passage(worker.system.event_map.route(Pack)[0], event).gates
            worker.system.emitter.publish([message])
            [granted] = worker.granted()
            return granted

        worker.error = ValueError
        assert isinstance(worker.execute(come("one")), Dead)
        worker.error = None
        if then == "redriven":
            worker.redrive()
        else:
            worker.parts.dead_letters.discard(worker.letter())
        worker.sweep()
        assert worker.execute(come("two")) == Settled("dead")
        assert worker.goes_on()

    @pytest.mark.parametrize("how", ["done", "dead"])
    @pytest.mark.parametrize("grouped", [False, True])
    def test_one_that_another_copy_has_settled_while_it_ran(self, make: Make, how: Any, grouped: bool) -> None:
        """It outlived its lease. That it fails does not count: there is no retry that anybody could wait for."""
        worker = make({"name": NAME, "retry": Retry()} if grouped else RETRIED)
        group = worker.system.emit_group([Pack()], max_parallel=2) if grouped else worker.system.emit(Pack())
        [message] = worker.granted()
        ledger = worker.parts.ledger

        def settle() -> None:
            script = worker.parts.coordination.script(settle_script(how) + "return 1")
            script(keys=[ledger.key(message.headers["id"])], args=ledger.settle_args(message.headers["id"], 1))

        worker.begun, worker.error = settle, ValueError
        assert worker.execute(message) == Settled(how)
        worker.begun = lambda: None
        assert worker.due() == []
        if grouped:
            progress = worker.system.group(group.id).progress()  # type: ignore[union-attr]
            assert (progress.state, progress.retrying) == ("completed", 0)
        else:
            assert worker.goes_on()

    def test_a_member_of_a_group_that_is_over(self, make: Make) -> None:
        """Its second message comes late, and finds a crowded limit."""
        worker = make({**ORDERED, "limit": Limit("smtp", 1)})
        worker.system.emit_group([Pack()], max_parallel=1)
        [message] = worker.granted()
        assert worker.execute(message) == Done()
        look_after_groups(worker.system, worker.parts.turns.admission)
        del message.headers["events-grant"]
        message.headers["events-run"] = 2
        worker.parts.gatekeeper._crowded.add("limit:smtp|", NAME)
        assert isinstance(worker.execute(message, redelivered=True), Settled)
        assert worker.goes_on()


class TestDeadBeforeItBegins:
    @pytest.mark.parametrize("why", ["hops", "key", "undecodable"])
    @pytest.mark.parametrize("killed", [True, False])
    def test_a_redriven_one_whose_worker_was_killed(self, make: Make, why: str, killed: bool) -> None:
        """killed: its lease has ended. If not, what is kept for it is given up with that."""
        broken = False

        def key(event: Pack) -> str:
            if broken:
                raise RuntimeError
            return event.key

        worker = make({**ORDERED, "limit": Limit("smtp", 5, key=key)})
        event = Pack()
        message = worker.message(event, events_generation=1, id=delivery_id(event.event_id, NAME, 1))
        if killed:
            worker.begin_and_die(message)
        else:
            run = worker.run_of(message)
            worker.parts.execution._decode(run)
            worker.parts.execution._verify(run)
            assert worker.parts.gatekeeper.admit(run) is None
        if why == "hops":
            worker.parts.execution._max_hops = -1
        elif why == "undecodable":
            body = json.loads(message.body)
            body[0][0]["data"] = {"key": 5}
            message.body = json.dumps(body).encode()
        broken = why == "key"
        assert isinstance(worker.execute(message, redelivered=True), Dead)
        worker.parts.execution._max_hops, broken = 32, False
        if not killed:
            worker.parts.gatekeeper.abandon(run)
            for gate in worker.client.scan_iter(worker.key("gate:held:*")):
                for member in worker.client.zrange(gate, 0, -1):
                    worker.client.zadd(gate, {member: 1})
            worker.client.zadd(worker.key("gates:due"), {f"order:{NAME}|x": 1})
            worker.sweep()
        assert worker.goes_on()

    def test_a_granted_one_that_celery_cannot_read(self, make: Make) -> None:
        """It is kept as it is, in a letter that cannot be redriven: so it holds nothing, whatever `on_dead` says."""
        worker = make(HOLDS)
        worker.system.emit_many([Pack(number=1), Pack(number=2)])
        [message] = worker.granted()
        worker.parts.gatekeeper.drop(worker.run_of(message))
        worker.sweep()
        drained(worker)
        assert worker.ran == [2]


def test_letters_are_forgotten_after_what_waits_for_them_was_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis fails in between: the next time does it."""
    worker = make(HOLDS, dead_retention=1)
    worker.system.emit(Pack())
    worker.error = ValueError
    worker.execute(*worker.granted())
    letters = worker.parts.dead_letters
    worker.client.zadd(worker.key("dead"), {worker.letter().id: 1})

    def cut(members: object) -> None:
        raise redis.ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(letters, "_gone", cut)
        with pytest.raises(redis.ConnectionError):
            letters.prune()
    assert (letters.prune(), letters.count()) == (1, 0)
    assert worker.goes_on()


@pytest.mark.parametrize("outcome", [Dead("poison", "it ends its process"), Done()])
def test_a_breaker_counts_nothing_where_its_handler_was_not_called(
    make: Make, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    worker = make({"name": NAME, "retry": None, "breaker": Breaker("bank", fail_max=1, reset=60)})
    worker.error = ValueError
    worker.execute(worker.message(Pack()))
    state = worker.key("gate:state:breaker:bank|")
    worker.client.hset(state, "until", 1)  # half open
    monkeypatch.setattr(worker.parts.execution, "_begin", lambda run: outcome)
    worker.execute(worker.message(Pack()))
    worker.sweep()
    assert worker.client.hget(state, "until") == "1"


STATES = ["granted", "granted again", "kept", "redelivered", "copy", "redriven"]
ENDINGS = ["done", "fails", "gives up", "hops", "undecodable", "unknown event", "unknown handler", "key", "revoked"]


@pytest.mark.parametrize(("grouped", "on_dead"), [(0, "continue"), (0, "hold"), (1, None), (3, "hold"), (3, None)])
@pytest.mark.parametrize("state", STATES)
def test_every_ending_in_every_state(make: Make, grouped: int, on_dead: str | None, state: str) -> None:
    """Of three the first is in that state and ends that way: the others run, each is counted once, nothing is left."""
    for ending in ENDINGS:
        _ends(make, grouped, on_dead, state, ending)


def _ends(make: Make, grouped: int, on_dead: str | None, state: str, ending: str) -> None:
    broken = False

    def key(event: Pack) -> str:
        if broken and event.number == 1:
            raise RuntimeError
        return ""

    options = {"name": NAME, "retry": Retry(max_attempts=3), "limit": Limit("smtp", 5, key=key)}
    worker = make(options | ({"ordered_by": "key", "on_dead": on_dead} if on_dead else {}), unknown_grace=0.001)
    worker.client.flushdb()
    worker.parts.gatekeeper.declare()
    execution, map_ = worker.parts.execution, worker.parts.gatekeeper._map
    events = [Pack(number=number) for number in (1, 2, 3)]
    group = worker.system.emit_group(events, max_parallel=grouped) if grouped else None
    if group is None:
        worker.system.emit_many(events)
    others: list[Message] = []
    first_id = str(events[0].event_id)

    def firsts() -> list[Message]:
        granted = worker.granted()
        others.extend(one for one in granted if json.loads(one.body)[0][0]["id"] != first_id)
        return [one for one in granted if json.loads(one.body)[0][0]["id"] == first_id]

    [message] = firsts()
    redelivered = False
    if state == "granted again":
        worker.begin_and_die(message)
        [message] = firsts()
    elif state in ("kept", "redelivered"):
        worker.error = ValueError
        worker.execute(message)
        worker.error = None
        [message] = worker.due()
        if state == "redelivered":
            worker.begin_and_die(message)
            redelivered = True
    elif state == "copy":
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(execution, "_begin", lambda run: Busy(1.0))
            worker.execute(message)
        [message] = worker.due()
    elif state == "redriven":
        worker.error = GiveUp
        worker.execute(message)
        worker.error = None
        letter = worker.letter()
        message = next_generation(worker.system, letter).message()
        worker.parts.dead_letters.remove(letter)
    coming = [message]
    for _ in range(12):
        if not coming:
            break
        message, redelivered_now, redelivered = coming.pop(0), redelivered, False
        with pytest.MonkeyPatch.context() as patched:
            worker.error = {"fails": ValueError, "gives up": GiveUp}.get(ending)
            broken = ending == "key"
            if ending == "hops":
                patched.setattr(execution, "_max_hops", -1)
            elif ending == "unknown handler":
                patched.setattr(execution, "_find", lambda name: None)
                patched.setattr(map_, "find", lambda name: None)
            elif ending in ("undecodable", "unknown event"):
                body = json.loads(message.body)
                body[0][0] |= {"data": {"key": 5}} if ending == "undecodable" else {"type": "nobody.knows"}
                message.body = json.dumps(body).encode()
            if ending == "revoked":
                run = worker.run_of(message)
                worker.parts.settlement.bury(run, Dead("revoked", "told to drop it"), force=True)
                worker.parts.gatekeeper.bury(run)
            else:
                worker.execute(message, redelivered=redelivered_now)
        worker.error, broken = None, False
        worker.sweep()
        coming += worker.due() or ([] if coming else firsts())
    case = (grouped, on_dead, state, ending)
    for letter, _ in itertools.zip_longest(worker.parts.dead_letters.find(), range(2)):
        for _ in range(5):
            for one in [*others, *worker.granted(), *worker.due()]:
                worker.execute(one)
            others.clear()
        if letter is not None:
            worker.parts.dead_letters.discard(letter)
            worker.sweep()
    assert worker.left() == [], case
    assert [number for number in worker.ran if number != 1] == [2, 3], case
    if group is not None:
        progress = group.progress()
        assert (progress.state, progress.total, progress.retrying) == ("completed", 3, 0), case
        assert progress.done + progress.dead + progress.cancelled == 3, case
