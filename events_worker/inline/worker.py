"""Runs what was captured: as a worker does, in the test's own process, one delivery after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

from events_core import Event, EventSystem, IntegrationEvent
from events_core.admission.client import Admission
from events_core.emitter import GROUP_HEADER
from events_core.publishing.messages import Message
from events_core.testing.group_book import GroupBook
from events_core.testing.recorder import Recorder
from events_core.testing.results import Clock, DeadDelivery, Handled, PendingDelivery
from events_worker.dead_letters import DeadLetter
from events_worker.groups import look_after_groups
from events_worker.inline.alone import Alone
from events_worker.inline.dead_letters import InlineDeadLetters
from events_worker.inline.gatekeeper import InlineGatekeeper
from events_worker.inline.ledger import InlineLedger
from events_worker.inline.pipeline import Pipeline
from events_worker.inline.receiving import received
from events_worker.inline.schedule import InlineSchedule

T = TypeVar("T")

#: Runs after which one call of `run` is taken for endless.
_MOST = 10_000


class InlineWorker:
    """The worker of one captured system. See `events_core.testing.CapturedEvents`, whose deliveries it runs."""

    def __init__(self, system: EventSystem, recorder: Recorder, book: GroupBook, clock: Clock) -> None:
        self._system = system
        self._recorder = recorder
        self._book = book
        self._clock = clock
        self.dead: list[DeadDelivery] = []
        self._pipeline = Pipeline(system, recorder)
        self._alone = Alone(system, recorder, self._pipeline)
        ledger = InlineLedger()
        self._schedule = InlineSchedule(ledger, clock)
        self._letters = InlineDeadLetters(ledger)
        self._gatekeeper = InlineGatekeeper(
            system.event_map, book, lambda messages: recorder.queue.extendleft(reversed(messages))
        )
        self._execution = self._pipeline.make(
            system.event_map.find, ledger, self._schedule, self._letters, self._gatekeeper
        )

    # --- running

    def run(self) -> list[Handled]:
        """Run what is due, and what follows. Raises RuntimeError where that makes no end."""
        runs: list[Handled] = []
        while (message := self._next()) is not None:
            if self._is_cancelled(message):
                continue
            if len(runs) == _MOST:
                self._recorder.queue.appendleft(message)
                raise RuntimeError(
                    f"still something to do after {_MOST} runs, the last of {runs[-1].handler}: events that follow "
                    "from one another, or a RetryLater(0), make no end"
                )
            runs.append(self._run(message))
        return runs

    async def arun(self) -> list[Handled]:
        """As `run`, in another thread; async handlers on this loop."""
        return await self._beside(self.run)

    async def _beside(self, work: Callable[[], T]) -> T:
        with self._pipeline.runner.on(asyncio.get_running_loop()):
            return await asyncio.to_thread(work)

    def _next(self) -> Message | None:
        queue = self._recorder.queue
        if not queue:
            queue.extend(self._schedule.take_due())
        if not queue:
            look_after_groups(self._system, cast("Admission", self._book))
        return queue.popleft() if queue else None

    def _run(self, message: Message) -> Handled:
        spec = self._system.event_map.find(message.delivery.handler)
        if spec is not None and spec.kind == "task":
            return self._pipeline.run_task(message, spec)
        before = len(self._letters.letters)
        run, _, handled = self._pipeline.execute(self._execution, message)
        self.dead += [_dead(letter, run.event, handled.error) for letter in self._letters.letters[before:]]
        return handled

    def next_due(self) -> float | None:
        """When the next retry is due, by the clock."""
        waiting = self._schedule.waiting
        return waiting[0].due if waiting else None

    # --- one handler alone

    def handle(self, handler: Any, event: Any) -> Handled:
        """See `Alone.handle`."""
        return self._alone.handle(handler, event)

    async def ahandle(self, handler: Any, event: Any) -> Handled:
        """As `handle`, in another thread; an async handler on this loop, and one in the caller's transaction, too."""
        spec = self._alone.spec_of(handler)
        if spec.in_transaction:
            return await self._alone.ahandle_inside(spec, event)
        return await self._beside(lambda: self._alone.handle(handler, event))

    # --- what comes, and what waits

    def receive(self, event: IntegrationEvent, topic: str | None) -> list[PendingDelivery]:
        """An event of another service has come. Raises LookupError, BrokerNotConfigured."""
        made: list[PendingDelivery] = []
        for batch in received(self._system, event, topic):
            self._recorder.queue.extend(batch.messages)
            made += map(self._pending, batch.messages)
            self.dead += [_dead(letter, None, None) for letter in batch.letters]
        return made

    def pending(self) -> list[PendingDelivery]:
        """What has not been run to its end."""
        waiting = [message for message in self._recorder.queue if not self._is_cancelled(message)]
        behind = [stored.message() for stored in self._gatekeeper.parked]
        later = [self._pending(each.message.message(), each.due - self._clock.now) for each in self._schedule.waiting]
        return [*map(self._pending, [*waiting, *behind]), *later]

    def _pending(self, message: Message, due_in: float = 0.0) -> PendingDelivery:
        name, _, queue = message.delivery
        attempt = int(message.headers.get("events-attempt") or 1)
        return PendingDelivery(name, self._recorder.event_of(message), queue, attempt, max(due_in, 0.0))

    def _is_cancelled(self, message: Message) -> bool:
        return self._book.is_cancelled(str(message.headers.get(GROUP_HEADER)), message.delivery.task_id)

    def clear(self) -> None:
        """Forget what waits, and what is dead."""
        self.dead.clear()
        self._schedule.clear()
        self._gatekeeper.clear()


def _dead(letter: DeadLetter, event: Event | None, exception: BaseException | None) -> DeadDelivery:
    return DeadDelivery(letter.handler or "", event, letter.reason, letter.error, exception, letter.starts)
