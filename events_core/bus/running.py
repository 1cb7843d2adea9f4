"""The event loop's side of one queue: runs handlers, a few at once, and tells what has become of each event."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from events_core.brokers import Received, Receiver
from events_core.bus.attempts import Failure, run_all
from events_core.bus.consumers import Consumer
from events_core.bus.statistics import Statistics
from events_core.events import IntegrationEvent
from events_core.policies import Retry

logger = logging.getLogger(__name__)

#: Seconds that a cancelled handler has to end.
_TO_BE_CANCELLED = 2.0


@dataclass(slots=True)
class Work:
    """A message with its event, and what becomes of it: handled, failed for good, or neither.

    receiver: which it came by. epoch: counts the connections; what an earlier one brought comes again.
    """

    received: Received
    event: IntegrationEvent
    consumers: Sequence[Consumer]
    receiver: Receiver
    epoch: int
    handled: bool = False
    failures: list[Failure] = field(default_factory=list)


class Runner:
    """Used on the event loop only. settled: told of each work when it is over."""

    def __init__(
        self, concurrency: int, retry: Retry | None, statistics: Statistics, settled: Callable[[Work], None]
    ) -> None:
        self._concurrency = concurrency
        self._retry = retry
        self._statistics = statistics
        self._settled = settled
        self._waiting: deque[Work] = deque()
        self._running: dict[asyncio.Task[None], Work] = {}
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self._running and not self._waiting

    def take(self, works: Sequence[Work]) -> None:
        """Run these, after what came before."""
        self._waiting.extend(works)
        if self._stopping:
            self.forget()
        else:
            self._go_on()

    def forget(self) -> None:
        """Run nothing of what has not begun."""
        waiting, self._waiting = self._waiting, deque()
        for work in waiting:
            self._settled(work)

    def end(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self.forget()

    async def stop(self, timeout: float) -> None:
        """Begin nothing more; what runs after `timeout` seconds is cancelled, and counts as not handled."""
        self.end()
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
        if self._running:
            logger.warning("%d handlers still ran after %g s and are cancelled", len(self._running), timeout)
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=_TO_BE_CANCELLED)
        for task, work in [*self._running.items()]:
            logger.error("%s %s: its handler cannot be cancelled", work.event.event_type, work.event.event_id)
            del self._running[task]
            self._settled(work)

    def _go_on(self) -> None:
        # A task for each event: what a handler sets in its context is not seen by the next one.
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._running) < self._concurrency:
            work = self._waiting.popleft()
            task = loop.create_task(self._run(work))
            self._running[task] = work
            task.add_done_callback(self._ended)

    async def _run(self, work: Work) -> None:
        handlers = [handler for consumer in work.consumers for handler in consumer.handlers_of(work.event)]
        work.failures = await run_all(handlers, work.event, self._retry, self._retried)
        work.handled = not work.failures

    def _retried(self) -> None:
        self._statistics.retried += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        work = self._running.pop(task, None)
        if work is None:
            return  # given up on when it could not be cancelled
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SystemExit | KeyboardInterrupt):
            # Of handlers_of(), or a fault of ours; given back it would come at once.
            work.failures = [Failure("the bus", "failed", error)]
        self._settled(work)
        self._go_on()
