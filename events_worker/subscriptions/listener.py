"""The thread of one queue: receive, sort, store and publish, and only then acknowledge.

Whatever is not acknowledged comes again, from wherever a worker dies: the deliveries have the same ids then, and the
ledger knows those that have been done.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence

import redis

from events_core import ConfigurationError, EmitError, EventSystem
from events_core.brokers.base import MessageBroker, Received, Receiver, Subscription
from events_core.publishing.messages import Carried
from events_core.subscribers import SubscribedQueue
from events_worker.parts import Parts
from events_worker.subscriptions.batch import Batch, Sorter
from events_worker.subscriptions.neighbours import Neighbours, asked_for
from events_worker.subscriptions.tally import Tally
from events_worker.subscriptions.topology import declare
from events_worker.subscriptions.unasked import Unasked

logger = logging.getLogger(__name__)

#: Messages that a worker holds unacknowledged at most, and takes at once.
_PREFETCH = 100
#: Seconds between two attempts while a server is down, and where something is set up wrongly.
_FIRST_PAUSE, _LONGEST_PAUSE, _MISTAKE = 0.2, 10.0, 30.0
#: Seconds that the end of the worker waits for a batch under way.
_FINISH_WITHIN = 10.0


class _Stopped(Exception):
    """The worker stops while a server is waited for: the messages come again."""


class Listener(threading.Thread):
    """Turns the messages of one queue into deliveries."""

    def __init__(self, system: EventSystem, parts: Parts, broker: MessageBroker, queue: SubscribedQueue) -> None:
        super().__init__(name=f"events-subscription-{queue.name}", daemon=True)
        self._system = system
        self._parts = parts
        self._broker = broker
        self._queue = queue
        # Where it is the receiver that picks what its queue is bound to, it would pick by what was asked for when it
        # was made, and acknowledge what a newer worker asks for: it gets everything instead, and the sorter picks.
        self._takes_all = broker.binds_receivers and broker.promises.shared
        grace = system.settings.unknown_grace
        self._neighbours = Neighbours(parts.coordination, queue.name, asked_for(system, queue), grace)
        self._sorter = Sorter(system, queue, broker.format, self._neighbours, takes_all=self._takes_all)
        self._tally = Tally(parts.coordination, queue.name)
        self._unasked = Unasked(queue.name)
        self._stopped = threading.Event()
        self._receiver: Receiver | None = None
        self._pause = _FIRST_PAUSE
        self._declared_for: frozenset[tuple[str, str]] = frozenset()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except _Stopped:
                break
            except (OSError, redis.RedisError) as error:
                self._wait(f"a server does not answer: {error}", self._pause)
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            except (ConfigurationError, NotImplementedError) as error:
                self._wait(str(error), _MISTAKE)
            except BaseException:  # a thread that ends would leave the queue to fill up, and nobody would see it
                if sys.is_finalizing():
                    raise
                logger.exception("the subscription %s failed", self._queue.name)
                self._wait("a fault", _LONGEST_PAUSE)
        self._tally.leave()
        with contextlib.suppress(redis.RedisError):  # they find out
            self._neighbours.leave()

    def _wait(self, reason: str, seconds: float) -> None:
        logger.warning("the subscription %s waits, again in %.1f s: %s", self._queue.name, seconds, reason)
        self._stopped.wait(seconds)

    def _listen(self) -> None:
        """Until it is to stop, or the receiver reads other topics than it should."""
        self._neighbours.refresh(now=True)  # they hear of this worker before anything comes because of it
        subscription = self._declare()
        if self._takes_all:
            everything = frozenset((topic, "#") for topic in _topics(subscription.bindings))
            subscription = Subscription(subscription.queue, everything)
        receiver = self._receiver = self._broker.receiver(subscription, _PREFETCH)
        try:
            tidy = True
            while tidy and not self._stopped.is_set():
                received = receiver.receive(self._tally.flush())
                self._pause = _FIRST_PAUSE  # it answers
                tidy = self._tidy()
                if received:
                    batch = self._handle(received)
                    receiver.acknowledge(received)
                    self._count(batch)
        finally:
            self._receiver = None
            receiver.close()

    def _declare(self) -> Subscription:
        others = self._neighbours.bindings
        subscription = declare(self._broker, self._parts.coordination, self._queue, others)
        self._declared_for = others
        return subscription

    def _tidy(self) -> bool:
        """Unbind what only workers asked for that have gone. False where it takes another receiver, as a topic has come
        or gone: before that is unbound, for this one would make it anew.
        """
        self._insist(self._neighbours.refresh)
        others, mine = self._neighbours.bindings, self._queue.bindings
        if others != self._declared_for:
            if self._takes_all and _topics(others | mine) != _topics(self._declared_for | mine):
                return False
            self._declare()
        return True

    def _handle(self, received: Sequence[Received]) -> Batch:
        """What they have become, when all of it is safe."""
        self._insist(self._neighbours.hear)  # one who bound the queue for these has said so before
        batch = self._sorter.sort(received)
        self._secure(batch)
        return batch

    def _secure(self, batch: Batch) -> None:
        """Return when all that the batch has become is stored, or confirmed by Celery's broker."""
        for letter in batch.letters:
            if letter.message is None:
                self._insist(lambda letter=letter: self._parts.dead_letters.keep(letter))  # type: ignore[misc]
            else:  # unless the delivery was settled before, when its message came for the first time
                self._insist(lambda letter=letter: self._parts.dead_letters.settle(letter, 1))  # type: ignore[misc]
        left: list[Carried] = [*batch.messages]

        def publish() -> None:
            try:
                self._system.emitter.publish(left)
            except EmitError as error:
                confirmed = set(error.confirmed)
                left[:] = [message for message in left if message.delivery not in confirmed]
                raise

        if left:
            self._insist(publish)

    def _insist(self, action: Callable[[], object]) -> None:
        """Do it, trying until its server answers. Raises _Stopped when the worker ends before."""
        pause = _FIRST_PAUSE
        while True:
            try:
                action()
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, EmitError) as error:
                logger.warning("the subscription %s waits, again in %.1f s: %s", self._queue.name, pause, error)
            else:
                return
            if self._stopped.wait(pause):
                raise _Stopped
            with contextlib.suppress(redis.RedisError):
                self._neighbours.refresh()  # who waits is there
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _count(self, batch: Batch) -> None:
        for what, number in batch.counts.items():
            self._tally.add(what, number)
        if batch.letters:
            refused = {what: batch.counts[what] for what in ("oversize", "undecodable", "invalid", "unknown_event")}
            reasons = ", ".join(f"{what} {number}" for what, number in refused.items() if number)
            logger.error("the subscription %s: %d dead letters (%s)", self._queue.name, len(batch.letters), reasons)
        if batch.counts["skipped"] and self._broker.promises.routed and not self._takes_all:
            self._unasked.skipped(batch.counts["skipped"], batch.unasked)

    def ask_to_stop(self) -> None:
        """Stop after the batch under way."""
        self._stopped.set()
        receiver = self._receiver
        if receiver is not None:
            receiver.wake()

    def finish(self) -> None:
        """Wait for its end; what it has not acknowledged by then comes again."""
        self.join(timeout=_FINISH_WITHIN)


def _topics(bindings: frozenset[tuple[str, str]]) -> set[str]:
    return {topic for topic, _ in bindings}
