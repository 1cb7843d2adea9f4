"""The worker's clock: sends delayed deliveries when they are due, and forgets old dead letters."""

from __future__ import annotations

import logging
import threading
import time

import redis

from events_core import EmitError, EventSystem
from events_core.publishing.messages import Message
from events_worker.checks import log_findings
from events_worker.groups import look_after_groups
from events_worker.parts import Parts
from events_worker.schedule import Claim

logger = logging.getLogger(__name__)

#: Seconds between two looks at the schedule at the most: others may have put something nearer in.
_LONGEST_WAIT = 0.5
_PAUSE_AFTER_ERROR = 1.0
_PRUNE_EVERY = 3600.0
#: Seconds between two times that a worker says which limits its code defines.
_DECLARE_EVERY = 15.0


class Clock(threading.Thread):
    """Moves what is due from the schedule to the broker."""

    def __init__(self, system: EventSystem, parts: Parts) -> None:
        super().__init__(name=f"events-clock-{system.name}", daemon=True)
        self._system = system
        self._parts = parts
        self._stopped = threading.Event()
        self._next_prune = 0.0
        self._next_declaration = 0.0
        self._next_look = 0.0

    def run(self) -> None:
        log_findings(self._system)
        while not self._stopped.is_set():
            try:
                wait = self.tick()
            except (redis.RedisError, OSError) as error:
                logger.warning("delayed deliveries wait: %s", error)
                wait = _PAUSE_AFTER_ERROR
            except Exception:  # a clock that ends would stop every retry, and nobody would see it
                logger.exception("delayed deliveries wait")
                wait = _PAUSE_AFTER_ERROR
            self._stopped.wait(wait)

    def tick(self) -> float:
        """Do what is due; seconds until the next look."""
        wait = self._sweep()
        if time.monotonic() >= self._next_look:  # a rate may have to be swept more often
            self._next_look = time.monotonic() + self._look()
        return min(wait, max(self._next_look - time.monotonic(), 0.0))

    def _look(self) -> float:
        """Send what is due; seconds until something else is."""
        parts = self._parts
        look_after_groups(self._system, parts.turns.admission)
        claim = parts.schedule.claim()
        if claim.messages:
            return 0.0 if self._send(claim) else _PAUSE_AFTER_ERROR
        if time.monotonic() >= self._next_prune and not parts.dead_letters.prune():
            self._next_prune = time.monotonic() + _PRUNE_EVERY
        return _LONGEST_WAIT if claim.wait is None else min(claim.wait, _LONGEST_WAIT)

    def _sweep(self) -> float:
        """Do for limits what nobody else does; seconds until the next look."""
        gatekeeper = self._parts.gatekeeper
        if time.monotonic() >= self._next_declaration:
            gatekeeper.declare()
            self._next_declaration = time.monotonic() + _DECLARE_EVERY
        return min(gatekeeper.sweep(), _LONGEST_WAIT)

    def _send(self, claim: Claim) -> bool:
        """Send what is due, queue by queue: one that refuses holds up no other. Whether all was sent."""
        by_queue: dict[str, dict[str, Message]] = {}
        for member, stored in claim.messages.items():
            by_queue.setdefault(stored.queue, {})[member] = stored.message()
        sent: set[str] = set()
        for queue, messages in by_queue.items():
            try:
                self._system.emitter.publish(list(messages.values()))
                sent |= messages.keys()
            except EmitError as error:
                confirmed = set(error.confirmed)
                sent |= {member for member, message in messages.items() if message.delivery in confirmed}
                logger.warning("delayed deliveries to %s wait: %s", queue, error)
        self._parts.schedule.sent(claim, sent)
        return len(sent) == len(claim.messages)

    def stop(self) -> None:
        """Stop; waits for the tick under way."""
        self._stopped.set()
        self.join(timeout=5.0)
