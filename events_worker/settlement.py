"""Settling an outcome: follow-ups confirmed first, then the outcome stored; only then the caller acknowledges.

While a server is down the caller waits here, with its slot: so the worker takes nothing new, and loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import redis

from events_core import EmitError
from events_core.errors import Unroutable
from events_core.publishing.messages import Carried, Message
from events_core.publishing.stored import StoredMessage
from events_worker.dead_letters import DeadLetter, DeadLetters
from events_worker.holding import held_since
from events_worker.ledger import KEEP_DONE, Ended, Ledger
from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Settled
from events_worker.run import Run
from events_worker.schedule import Schedule
from events_worker.subscriptions.watermarks import Watermarks

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between two attempts to reach a server that is down.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Publish(Protocol):
    """Hands messages to the broker, confirmed."""

    def __call__(self, messages: Sequence[Carried], timeout: float | None = None) -> None: ...


class Settlement:
    """Settles the runs of one system."""

    def __init__(
        self,
        ledger: Ledger,
        schedule: Schedule,
        dead_letters: DeadLetters,
        publish: Publish,
        watermarks: Watermarks | None = None,
    ) -> None:
        self._watermarks = watermarks
        self._ledger = ledger
        self._schedule = schedule
        self._dead_letters = dead_letters
        self._publish = publish

    def settle(self, run: Run, outcome: Outcome) -> Outcome:
        """Make the outcome last. Returns it, or what the run has become meanwhile: another copy may have settled it.

        Raises Unroutable for follow-ups that nobody hears, where they must be heard: nothing is settled then.
        """
        fresh, how = True, "retry"
        if isinstance(outcome, Done):
            self._done(run)
        elif isinstance(outcome, Delayed):
            fresh = self._put_off(run, outcome.seconds, run.next_message(attempt=outcome.attempt))
        elif isinstance(outcome, Held):
            times = {"events-first-at": run.first_at, "events-held-since": held_since(run)}
            fresh = self._put_off(run, outcome.seconds, run.message({"events-run": run.number + 1, **times}))
        elif isinstance(outcome, Busy):
            # Not sent as a first run's message, of which the ledger would not be asked. To the broker it is a new one.
            message = run.message({"events-copy": True, "events-in-vain": run.in_vain})
            self.insist(lambda: self._schedule.copy(run.task_id, run.number, outcome.seconds, message, run.once))
        elif isinstance(outcome, Dead):
            fresh, how = self.bury(run, outcome), "dead"
        became = outcome if fresh else self._settled_already(run, outcome, how)
        self._log(run, became)  # Parked and Settled: nothing is left to do
        return became

    def _put_off(self, run: Run, seconds: float, message: StoredMessage) -> bool:
        return self.insist(lambda: self._schedule.settle(run.task_id, run.number, seconds, message))

    def _done(self, run: Run) -> None:
        deliveries = [message for message in run.follow_ups if isinstance(message, Message)]
        for_others = [message for message in run.follow_ups if not isinstance(message, Message)]
        for messages in (for_others, deliveries):  # should those for other services be refused, none was emitted
            if messages:
                self._publish_all(messages)
        if run.newest is not None and self._watermarks is not None:
            # After the follow-ups: a run that is repeated without them would be outdated. Before the run is settled:
            # one that is repeated after that would not raise it.
            newest, watermarks = run.newest, self._watermarks
            self.insist(lambda: watermarks.raise_to(newest))
        if run.first and run.once:
            self.insist(lambda: self._ledger.settle(run.task_id, run.number, KEEP_DONE))
        elif not run.ordinary:
            self.insist(lambda: self._ledger.settle(run.task_id, run.number))

    def _publish_all(self, messages: Sequence[Carried]) -> None:
        """Publish until every message is confirmed; those that are confirmed are not sent again."""
        left = messages

        def publish() -> None:
            nonlocal left
            try:
                self._publish(left)
            except EmitError as error:
                confirmed = set(error.confirmed)
                left = [message for message in left if message.delivery not in confirmed]
                raise

        self.insist(publish)

    def _settled_already(self, run: Run, outcome: Outcome, how: str) -> Outcome:
        """What was settled by somebody else counts, unless it is the same, which may have been this call, unheard."""
        found = self.insist(lambda: self._ledger.look(run.task_id, run.number))
        return Settled(found.how) if isinstance(found, Ended) and found.how not in ("", how) else outcome

    def bury(self, run: Run, outcome: Dead, *, force: bool = False) -> bool:
        """Store the run as a dead letter; False if it was settled already. force: also then."""
        letter = DeadLetter.of(run.task_id, run.message(), outcome, starts=run.starts, first_at=run.first_at)
        return self.insist(lambda: self._dead_letters.settle(letter, run.number, force=force))

    def insist(self, action: Callable[[], T]) -> T:
        """The result of `action`, tried until its server answers. Raises Unroutable, which it does answer."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return action()
            except Unroutable:
                raise
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, EmitError) as error:
                logger.warning("cannot settle, again in %.1f s: %s", pause, error)
            threading.Event().wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _log(self, run: Run, outcome: Outcome) -> None:
        label = (run.task, run.payload.get("type") if isinstance(run.payload, dict) else None, run.task_id)
        if isinstance(outcome, Dead):
            logger.error(
                "%s %s [%s] is dead after %d starts (%s): %s%s",
                *label, run.starts, outcome.reason, outcome.error, outcome.traceback and f"\n{outcome.traceback}",
            )  # fmt: skip
        elif isinstance(outcome, Delayed):
            logger.warning(
                "%s %s [%s] again in %.1f s as attempt %d (%s)",
                *label,
                outcome.seconds,
                outcome.attempt,
                outcome.reason,
            )
        elif isinstance(outcome, Held):
            logger.warning("%s %s [%s] held for %.1f s: %s", *label, outcome.seconds, outcome.reason)
