"""What Celery, and whoever watches it, is told of a run: through Celery's own tracer and request."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from celery import Celery, Task
from celery.app.trace import build_tracer
from celery.exceptions import Retry as CeleryRetry
from celery.worker.request import Request
from kombu.message import Message

from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Parked, Settled
from events_worker.tasks import DeliveryTask
from events_worker.tasks.requests import DeliveryRequest
from events_worker.tasks.telling import DeadLettered, RunAgain, told_of

ID = "5e1f"
RETRIED: list[tuple[Outcome, str, float | None]] = [
    (Parked(), "RunAgain('it waits for its turn')", None),
    (Delayed(2.34567, 2, "ValueError"), "RunAgain('ValueError')", 2.346),
    (Held(60.0, "no handler of that name"), "RunAgain('no handler of that name')", 60.0),
    (Busy(5.0), "RunAgain('another copy is running')", 5.0),
]
DEAD: list[tuple[Dead, str]] = [
    (
        Dead("exhausted", "ada@secret.example", "ValueError", "ada@secret.example"),
        "DeadLettered('exhausted: ValueError')",
    ),
    (Dead("poison"), "DeadLettered('poison')"),
]
SUCCEEDED: list[Outcome] = [Done(), Settled(), Settled("dead")]


def test_of_every_outcome_something_is_told() -> None:
    outcomes = [*SUCCEEDED, *(outcome for outcome, *_ in RETRIED), *(outcome for outcome, _ in DEAD)]
    assert {type(outcome) for outcome in outcomes} == set(get_args(Outcome))


@pytest.mark.parametrize("outcome", SUCCEEDED, ids=repr)
def test_nothing_is_raised_where_it_succeeds(outcome: Outcome) -> None:
    assert told_of(outcome) is None


@pytest.mark.parametrize("outcome, why, seconds", RETRIED, ids=lambda value: type(value).__name__)
def test_a_retry_says_why_and_when(outcome: Outcome, why: str, seconds: float | None) -> None:
    told = told_of(outcome)
    assert isinstance(told, CeleryRetry)
    assert isinstance(told.exc, RunAgain)
    assert (repr(told.exc), told.when) == (why, seconds)


@pytest.mark.parametrize("outcome, why", DEAD)
def test_a_failure_says_why_without_the_error(outcome: Dead, why: str) -> None:
    told = told_of(outcome)
    assert isinstance(told, DeadLettered)
    assert repr(told) == why


class Worker:
    """A Celery app whose tasks end as they would in a worker. heard: the task events that it sends."""

    enabled = True

    def __init__(self) -> None:
        self.app = Celery("telling", broker="memory://", set_as_current=False)
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.heard.append((kind, fields))

    def ours(self, outcome: Outcome) -> Task:
        """A task of ours whose deliveries end so."""
        gatekeeper = SimpleNamespace(known=lambda task_id, headers: None)
        parts = SimpleNamespace(execution=SimpleNamespace(execute=lambda run: outcome), gatekeeper=gatekeeper)
        attributes = {"name": "shop.send", "_parts": parts, "__module__": __name__}
        return self.app.register_task(type("HandlerTask", (DeliveryTask,), attributes)())

    def run(self, task: Task, *, prefork: bool = False) -> tuple[str | None, Any]:
        """Runs it once: its state and what the pool's process says of it. prefork: as pickle makes it of that."""
        headers = {"id": ID, "task": task.name, "lang": "py", "timelimit": (None, None)}
        message = Message(body="[]", headers=headers, delivery_info={"routing_key": "shop.events"})
        message._decoded_cache = [[], {}, {}]
        kind = DeliveryRequest if isinstance(task, DeliveryTask) else Request
        tracer = build_tracer(task.name, task, app=self.app)
        request = kind(message, app=self.app, task=task, eventer=self, decoded=True, body=[[], {}, {}])
        said, info, seconds, shown = tracer(ID, [], {}, {**headers, "delivery_info": message.delivery_info})
        if prefork:
            said = pickle.loads(pickle.dumps(said))
        request.on_success((1, said, seconds) if info else (0, shown, seconds))
        return info and info.state, said

    def told(self) -> tuple[str, dict[str, Any]]:
        """The one event of how it ended."""
        [told] = self.heard
        return told


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.mark.parametrize("outcome, why", [(outcome, why) for outcome, why, _ in RETRIED])
@pytest.mark.parametrize("prefork", [False, True], ids=["thread", "child"])
def test_a_retried_one_ends_without_a_traceback(worker: Worker, outcome: Outcome, why: str, prefork: bool) -> None:
    state, said = worker.run(worker.ours(outcome), prefork=prefork)
    assert (state, said.type, said.traceback, str(said)) == ("RETRY", CeleryRetry, "", "")
    kind, told = worker.told()
    assert (kind, told["traceback"]) == ("task-retried", "")
    assert why in told["exception"]


@pytest.mark.parametrize("outcome, why", DEAD)
@pytest.mark.parametrize("prefork", [False, True], ids=["thread", "child"])
def test_a_dead_one_ends_without_a_traceback(worker: Worker, outcome: Outcome, why: str, prefork: bool) -> None:
    state, said = worker.run(worker.ours(outcome), prefork=prefork)
    assert (state, said.type, said.traceback, str(said)) == ("FAILURE", DeadLettered, "", "")
    assert worker.told() == ("task-failed", {"uuid": ID, "exception": why, "traceback": ""})


@pytest.mark.parametrize("outcome", SUCCEEDED, ids=repr)
def test_one_that_succeeded(worker: Worker, outcome: Outcome) -> None:
    state, _ = worker.run(worker.ours(outcome))
    assert state is None
    assert worker.told()[0] == "task-succeeded"


@pytest.mark.parametrize("prefork", [False, True], ids=["thread", "child"])
class TestOthers:
    """Tasks of the application's own are told of as ever."""

    def test_one_that_raises_keeps_its_traceback(self, worker: Worker, prefork: bool) -> None:
        def charge() -> None:
            raise ValueError("the card is refused")

        state, said = worker.run(worker.app.task(charge), prefork=prefork)
        assert (state, said.type) == ("FAILURE", ValueError)
        kind, told = worker.told()
        assert (kind, told["exception"]) == ("task-failed", "ValueError('the card is refused')")
        for text in (said.traceback, told["traceback"]):
            assert "in charge" in text
            assert text.endswith("ValueError: the card is refused\n")
        assert said.tb.tb_frame.f_code.co_filename.endswith("trace.py")

    def test_one_that_retries_keeps_its_traceback(self, worker: Worker, prefork: bool) -> None:
        def charge(task: Task) -> None:
            try:
                raise ValueError("the bank is closed")
            except ValueError as error:
                raise task.retry(exc=error, countdown=60) from None

        state, said = worker.run(worker.app.task(charge, bind=True), prefork=prefork)
        assert (state, said.type) == ("RETRY", CeleryRetry)
        kind, told = worker.told()
        assert kind == "task-retried"
        assert "ValueError('the bank is closed')" in told["exception"]
        for text in (said.traceback, told["traceback"]):
            assert "in charge" in text
            assert "Retry in 60s" in text
