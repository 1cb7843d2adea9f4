"""What the execution makes of starts that did not end: counted by the broker (Redis Streams), or by the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest

from events_core import DomainEvent, EventSystem
from events_core.envelope import Envelope
from events_core.publishing.connect import counts_deliveries
from events_core.publishing.stored import StoredMessage
from events_worker.dead_letters.redrive import next_generation
from events_worker.execution import Execution
from events_worker.ledger import Begun, Claimed
from events_worker.outcome import Busy, Dead, Delayed, Done, Outcome, Settled
from events_worker.parts import Parts, parts_of
from events_worker.run import Run
from events_worker.running import Runner


class Counted(DomainEvent, event_type="counted.happened"):
    number: int = 0


class Worker:
    """An execution with a real ledger. alone: what a process of its own answers; None where there is none."""

    def __init__(self, system: EventSystem) -> None:
        self.system = system
        self.raises: type[BaseException] | None = None
        self.parts: Parts = parts_of(system)
        self.runs = 0
        self.held: list[object] = []
        self.isolated: list[Run] = []
        self.alone: tuple[Outcome, bool] | None = (Done(), True)
        system.bind(Counted, self._handle, name="counted")
        self.task_id = str(uuid4())
        self.execution = Execution(
            find=system.event_map.find,
            emitter=system.emitter,
            runner=Runner(None),
            ledger=self.parts.ledger,
            settlement=self.parts.settlement,
            isolate=self._isolate,
            max_hops=32,
            unknown_grace=60,
            counted=True,
        )

    def _handle(self, event: Counted) -> None:
        self.runs += 1
        self.held.append(self.parts.ledger.look(self.task_id, 1))
        if self.raises is not None:
            raise self.raises

    def _isolate(self, run: Run) -> tuple[Outcome, bool] | None:
        self.isolated.append(run)
        return self.alone

    def deliver(self, in_vain: int | None, **headers: Any) -> tuple[Run, Outcome]:
        """Deliver the message once more. in_vain: the broker's count; None: the first delivery of that message."""
        payload = json.loads(Envelope.of(Counted()).to_json())
        headers |= {"x-delivery-count": in_vain} if in_vain else {}
        redelivered = in_vain is not None
        run = Run.of(self.task_id, "counted", "counted.events", headers, payload, redelivered=redelivered)
        return run, self.execution.execute(run)

    def scheduled(self) -> list[StoredMessage]:
        """The messages that wait."""
        kept = self.parts.coordination.client.hvals(self.parts.schedule.keys[1])
        return [StoredMessage.from_json(text) for text in kept]

    def begin_alone(self, *, ended: bool, run: int = 1) -> None:
        """A process of its own begins it. ended: and was gone with its machine, long ago."""
        self.parts.ledger.begin_alone(self.task_id, run, "other")
        if ended:
            self.parts.coordination.client.hset(self.parts.ledger.key(self.task_id), "until", 1)


@pytest.fixture
def worker(redis_url: str, system_name: str) -> Iterator[Worker]:
    system = EventSystem(system_name, broker_url=redis_url)
    yield Worker(system)
    system.close()


@pytest.mark.parametrize("transport, counts", [("streams", True), ("stock", False)])
def test_streams_count_and_the_stock_transport_does_not(system_name: str, transport: str, counts: bool) -> None:
    system = EventSystem(system_name, broker_url="redis://127.0.0.1:1", redis_transport=transport)
    assert counts_deliveries(system.celery) is counts


def test_a_first_delivery_asks_nothing_and_stores_nothing(worker: Worker) -> None:
    run, outcome = worker.deliver(None)
    assert (outcome, run.starts, worker.runs) == (Done(), 1, 1)
    assert not worker.parts.coordination.client.exists(worker.parts.ledger.key(worker.task_id))


@pytest.mark.parametrize("in_vain", [0, 1])
def test_what_was_given_back_or_failed_once_runs_in_place(worker: Worker, in_vain: int) -> None:
    """Given back unbegun does not count; one start that did not end makes no suspect. No start is written down."""
    run, outcome = worker.deliver(in_vain)
    assert (outcome, run.starts, worker.runs) == (Done(), in_vain + 1, 1)
    assert worker.held == [Begun(0)]
    assert worker.isolated == []


def test_the_third_start_is_alone(worker: Worker) -> None:
    run, outcome = worker.deliver(2)
    assert outcome == Done()
    assert worker.runs == 0
    [isolated] = worker.isolated
    assert (isolated, run.suspect, run.starts) == (run, True, 3)


def test_a_suspect_that_ends_the_process_of_its_own_is_dead(worker: Worker) -> None:
    worker.alone = (Dead("poison", "killed"), False)
    outcome = worker.deliver(2)[1]
    assert isinstance(outcome, Dead)
    [letter] = worker.parts.dead_letters.find()
    assert (letter.reason, letter.starts, worker.runs) == ("poison", 3, 0)
    assert worker.deliver(3)[1] == Settled()


def test_a_suspect_without_a_process_of_its_own_runs_here_claimed(worker: Worker) -> None:
    """So that its start is known if it ends the worker, and no copy runs beside it."""
    worker.alone = None
    run, outcome = worker.deliver(2)
    assert (outcome, run.starts, worker.runs) == (Done(), 3, 1)
    assert isinstance(worker.held[0], Claimed)


@pytest.mark.parametrize("in_vain", [0, 1, 2, 3])
def test_a_settled_run_is_not_run_again(worker: Worker, in_vain: int) -> None:
    """Its worker died, or Redis did, between the outcome and the acknowledgement."""
    worker.parts.ledger.settle(worker.task_id, 1)
    assert worker.deliver(in_vain)[1] == Settled()
    assert worker.runs == len(worker.isolated) == 0


def test_three_in_vain_and_a_start_alone_that_did_not_end_is_poison(worker: Worker) -> None:
    worker.begin_alone(ended=True)
    run, outcome = worker.deliver(3)
    assert isinstance(outcome, Dead)
    assert (outcome.reason, run.starts) == ("poison", 3)
    [letter] = worker.parts.dead_letters.find()
    assert (letter.reason, letter.starts) == ("poison", 3)
    assert worker.runs == len(worker.isolated) == 0


def test_three_in_vain_as_a_bystander_is_no_poison(worker: Worker) -> None:
    """It never began alone, or what began it alone was ended for the worker's sake: so it is begun alone now."""
    run, outcome = worker.deliver(5)
    assert outcome == Done()
    assert worker.isolated == [run]
    assert run.starts == 3


def test_what_runs_elsewhere_waits_for_it(worker: Worker) -> None:
    worker.begin_alone(ended=False)
    outcome = worker.deliver(3)[1]
    assert isinstance(outcome, Busy)
    assert worker.runs == len(worker.isolated) == 0
    assert worker.parts.schedule.count() == 1


def test_a_copy_that_waited_knows_what_was_in_vain(worker: Worker) -> None:
    """The machine went down with the start alone, whose claim outlasts the broker's patience: the delivery became a
    copy, a new message. It is dead all the same, and not begun anew for ever.
    """
    worker.begin_alone(ended=False)
    worker.deliver(3)
    worker.begin_alone(ended=True)
    [copy] = worker.scheduled()
    assert worker.deliver(None, **copy.headers)[1] == Dead("poison", ANY)
    [letter] = worker.parts.dead_letters.find()
    assert (letter.reason, letter.starts) == ("poison", 3)
    assert worker.runs == len(worker.isolated) == 0
    stored = letter.stored_message()
    assert stored is not None
    assert not Run.of("1", "counted", "q", stored.headers, {}, redelivered=False).in_vain  # nor a redriven one's


def test_its_message_keeps_no_count_of_the_broker(worker: Worker) -> None:
    """A retry is a new message: its count begins anew."""
    run = Run.of("1", "counted", "q", {"x-delivery-count": 2}, {}, redelivered=True)
    assert "x-delivery-count" not in run.next_message(attempt=2).headers


@pytest.mark.parametrize("counted", [True, False], ids=["broker", "ledger"])
@pytest.mark.parametrize("error", [MemoryError, SystemExit, KeyboardInterrupt])
def test_one_that_raised_what_ends_processes_is_not_begun_a_fourth_time(
    worker: Worker, error: type[BaseException], counted: bool
) -> None:
    """Its first start raised it, the second ended with its worker, and so did the third, alone: each counts."""
    worker.raises, worker.execution._counted = error, counted
    assert isinstance(worker.deliver(None)[1], Delayed)
    [retry] = worker.scheduled()
    if not counted:
        worker.parts.ledger.begin(worker.task_id, 2, presumed=0)
    worker.deliver(1, **retry.headers)
    [alone] = worker.isolated
    assert (alone.suspect, alone.starts) == (True, 3)
    worker.begin_alone(ended=True, run=2)
    assert worker.deliver(2, **retry.headers)[1] == Dead("poison", ANY)
    [letter] = worker.parts.dead_letters.find()
    assert (letter.starts, worker.runs) == (3, 1)
    assert "events-dangers" not in next_generation(worker.system, letter).headers


@pytest.mark.parametrize("counted", [True, False], ids=["broker", "ledger"])
@pytest.mark.parametrize("again", [None, 1], ids=["at-once", "in-vain-again"])
def test_what_was_in_vain_before_it_raised_counts_for_its_retry(
    worker: Worker, again: int | None, counted: bool
) -> None:
    """Its first start did not end and its second raised what ends processes: the third is alone, and the last."""
    worker.raises, worker.execution._counted = MemoryError, counted
    assert isinstance(worker.deliver(1)[1], Delayed)
    [retry] = worker.scheduled()
    worker.deliver(again, **retry.headers)
    [alone] = worker.isolated
    assert (alone.suspect, alone.starts, worker.runs) == (True, 3, 1)
    worker.begin_alone(ended=True, run=2)
    assert worker.deliver((again or 0) + 1, **retry.headers)[1] == Dead("poison", ANY)
    [letter] = worker.parts.dead_letters.find()
    assert (letter.starts, worker.runs) == (3, 1)


@pytest.mark.parametrize("counted", [True, False], ids=["broker", "ledger"])
def test_of_what_raised_once_an_ordinary_failure_is_none_of_its_dangers(worker: Worker, counted: bool) -> None:
    """ValueError, MemoryError, and a start that did not end: the next is alone, and it may be done."""
    worker.execution._counted = counted
    for worker.raises in (ValueError, MemoryError):
        assert isinstance(worker.deliver(None, **(worker.scheduled()[-1].headers if worker.runs else {}))[1], Delayed)
    retry = max(worker.scheduled(), key=lambda message: message.headers["events-run"])
    assert retry.headers["events-dangers"] == 1
    if not counted:
        worker.parts.ledger.begin(worker.task_id, 3, presumed=0)
    assert worker.deliver(1, **retry.headers)[1] == Done()
    [alone] = worker.isolated
    assert (alone.suspect, worker.runs) == (True, 2)


def test_an_ordinary_failure_endangers_nothing(worker: Worker) -> None:
    """Its retry was delivered in vain once: it runs in place."""
    worker.raises = ValueError
    worker.deliver(None)
    [retry] = worker.scheduled()
    worker.deliver(1, **retry.headers)
    assert (worker.runs, worker.isolated) == (2, [])
