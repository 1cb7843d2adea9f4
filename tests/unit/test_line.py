"""What a solo worker has received and not begun: in which order it runs, and which of it is asked for early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.asynchronous import Hub

from events_worker.run import Run
from events_worker.tasks import line as module
from events_worker.tasks.line import Line, line_of

TASK: Any = SimpleNamespace(name="mail")


class Early:
    """Remembers what was withdrawn. `run` is what was asked for."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.ahead: Any = None
        self.withdrawn: list[str] = []

    def withdraw(self) -> None:
        if self.run is not None:
            self.withdrawn.append(self.run.task_id)
        self.run = None


class Message(SimpleNamespace):
    """Of the queue `q`."""

    def __init__(self, name: str) -> None:
        where = {"exchange": "", "routing_key": "q"}
        super().__init__(headers={"id": name}, payload=[[{}], {}, {}], delivery_info=where, given_back=False)

    def reject_log_error(self, logger: Any, errors: Any, *, requeue: bool) -> None:
        self.given_back = requeue


def consumer(hub: Any, prefetch: int = 64, *, disable_prefetch: bool = False) -> Any:
    app = SimpleNamespace(conf=SimpleNamespace(worker_disable_prefetch=disable_prefetch))
    queues = {"q"}
    tasks = SimpleNamespace(consuming_from=queues.__contains__, queues=queues)
    made = SimpleNamespace(hub=hub, connection=object(), initial_prefetch_count=prefetch, app=app, task_consumer=tasks)
    made.connection_errors = (OSError,)
    return made


class Worker:
    """A consumer with a real event loop, and its line. Messages that are begun are in `began`."""

    def __init__(self) -> None:
        self.early: Any = Early()
        self.consumer = consumer(Hub())
        self.line = self.new_line()
        self.began: list[str] = []

    def new_line(self) -> Line:
        line = line_of(self.consumer, self.early)
        assert line is not None
        return line

    def put(self, *names: str, end: Callable[[], object] = lambda: None, **where: str) -> list[Message]:
        """They have come. end: called when one has begun."""
        messages = [Message(name) for name in names]
        for message in messages:
            message.delivery_info |= where
            name = message.headers["id"]
            self.line.put(TASK, message, lambda name=name: (self.began.append(name), end()))
        return messages

    def rounds(self, number: int = 1) -> None:
        for _ in range(number):
            self.consumer.hub.run_once()

    def ask(self) -> str | None:
        """As the gatekeeper does when a run ends: which run was asked for."""
        run = self.early.run = self.line.upcoming()
        return run and run.task_id

    def answered(self) -> None:
        self.early.run = None


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.line.close()
    made.consumer.hub.close()


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is over when one has run."""
    monkeypatch.setattr(module, "_TURN", 0.0)


def test_first_in_first_out(worker: Worker) -> None:
    worker.put("a", "b", "c")
    assert worker.began == []
    worker.rounds()
    assert worker.began == ["a", "b", "c"]


def test_a_turn_ends_and_the_loop_has_others_come_in_between(worker: Worker, no_time: None) -> None:
    """Signals, remote control and acknowledgements: one round of the loop for each turn."""
    worker.put("a", "b")
    worker.rounds()
    assert worker.began == ["a"]
    worker.rounds()
    assert worker.began == ["a", "b"]


def test_the_next_one_is_known_while_one_runs(worker: Worker) -> None:
    known: list[str | None] = []

    def end() -> None:
        worker.answered()
        known.append(worker.ask())

    worker.put("a", "b", "c", end=end)
    worker.rounds()
    assert worker.began == ["a", "b", "c"]
    assert known == ["b", "c", None]
    assert worker.early.withdrawn == []


@pytest.mark.usefixtures("no_time")
def test_none_is_known_where_the_loop_comes_first(worker: Worker) -> None:
    """Others might run in between, with its place taken: a long one, or a task of somebody else's."""
    known: list[str | None] = []
    worker.put("a", "b", end=lambda: known.append(worker.ask()))
    worker.rounds(2)
    assert known == [None, None]


def test_none_is_known_between_two_turns(worker: Worker) -> None:
    """A limited one that does not come by the line ends then: the loop may run anything before the line."""
    worker.put("a")
    worker.rounds()
    worker.put("b")
    assert worker.ask() is None


def test_what_was_asked_for_begins_although_the_time_is_over(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        worker.answered()
        worker.ask()
        monkeypatch.setattr(worker.line, "_until", 0.0)  # it ran for long

    worker.put("a", "b", "c", end=end)
    worker.rounds()
    assert worker.began == ["a", "b"]
    assert worker.early.run is None


def test_what_was_asked_for_and_does_not_begin_is_withdrawn(worker: Worker) -> None:
    """It was revoked, say: Celery ends it before our task has it."""

    def end() -> None:
        if worker.began == ["a"]:
            worker.ask()

    worker.put("a", "b", "c", end=end)
    worker.rounds()
    assert worker.began == ["a", "b", "c"]
    assert worker.early.withdrawn == ["b"]


def test_an_error_is_the_loops_and_loses_nobody(worker: Worker) -> None:
    """A lost connection ends the loop; should it not, the rest goes on."""

    def end() -> None:
        if worker.began == ["a"]:
            worker.ask()
        if worker.began == ["a", "b"]:
            raise ConnectionError("gone")

    worker.consumer.hub.propagate_errors = (ConnectionError,)
    worker.put("a", "b", "c", end=end)
    with pytest.raises(ConnectionError):
        worker.rounds()
    assert worker.early.withdrawn == ["b"]
    worker.consumer.hub._loop = None
    worker.rounds()
    assert worker.began == ["a", "b", "c"]


def test_what_is_cancelled_goes_back(worker: Worker) -> None:
    """`celery control cancel_consumer` means what the worker has fetched too, even what was asked for."""

    def end() -> None:
        worker.ask()
        worker.consumer.task_consumer.queues.discard("q")

    messages = worker.put("a", "b", "c", end=end)
    worker.put("d", exchange="theirs", routing_key="to nobody knows which queue")
    worker.rounds()
    assert worker.began == ["a", "d"]
    assert [message.given_back for message in messages] == [False, True, True]
    assert worker.early.withdrawn == ["b"]


def test_another_thread_knows_of_none(worker: Worker) -> None:
    """It may run deliveries of another worker in this process, and one thread only may ask."""
    known: list[str | None] = []

    def end() -> None:
        if worker.began == ["a"]:
            other = threading.Thread(target=lambda: known.append(worker.ask()))
            other.start()
            other.join()

    worker.put("a", "b", end=end)
    worker.rounds()
    assert known == [None]


def test_another_connection_has_a_line_of_its_own(worker: Worker) -> None:
    """What came over the old one, its broker delivers again."""
    worker.put("a")
    assert worker.new_line() is worker.line
    worker.consumer.connection = object()
    worker.line = worker.new_line()
    worker.put("b")
    worker.rounds(2)
    assert worker.began == ["b"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(consumer(None), id="no event loop"),
        pytest.param(consumer(object(), 1), id="one message at a time"),  # it would only come a round of the loop later
        pytest.param(consumer(object(), 0), id="no end of messages"),  # which would all come at once
        pytest.param(consumer(object(), disable_prefetch=True), id="only as many messages as run"),
    ],
)
def test_there_is_none(given: Any) -> None:
    early: Any = Early()
    assert line_of(given, early) is None


def test_a_second_worker_of_the_process_has_none(worker: Worker) -> None:
    """They would read each other's answers."""
    assert line_of(consumer(worker.consumer.hub), worker.early) is None
    assert worker.new_line() is worker.line
