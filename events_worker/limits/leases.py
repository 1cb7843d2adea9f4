"""One thread for each process that runs limited deliveries: renews their leases, sends releases that could wait."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import redis

from events_core.admission.client import Admission
from events_core.forking import call_in_child

logger = logging.getLogger(__name__)

#: Seconds that a release may wait for an operation to go with.
_PAUSE = 0.003
_AFTER_ERROR = 1.0


@dataclass(slots=True)
class Lease:
    """What a run holds. length: milliseconds. refused: it ran out, and its token is not valid any more."""

    member: str
    token: int
    gates: list[str]
    length: int
    renewed_at: float
    refused: bool = False


class Leases:
    """The leases of one process and system."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._held: dict[int, Lease] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._releases = False
        self._urgent = threading.Event()
        self._idle = True
        self._shortest = math.inf  # milliseconds
        self._thread: threading.Thread | None = None

    def add(self, member: str, token: int, gates: list[str], length: int, first: int | None = None) -> Lease:
        """Renew this lease from now on. first: milliseconds for which it lasts as yet, if not `length`."""
        first = length if first is None else min(first, length)
        lease = Lease(member, token, gates, length, time.monotonic() - (length - first) / 3000)
        self._held[id(lease)] = lease
        if self._idle or first < self._shortest:
            self._shortest = min(first, self._shortest)
            self._changed.set()
        if self._thread is None:
            self._start()
        return lease

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        self._held.pop(id(lease), None)

    def flush(self) -> None:
        """Send the releases that wait for an operation to go with: the process ends."""
        try:
            self._admission.flush()
        except redis.RedisError as error:
            logger.warning("some places are given back when their leases end: %s", error)

    def release_soon(self, operation: list[Any], *, at_once: bool = False) -> None:
        """Send a release from the thread: with the next operation or in a moment, or at once."""
        self._admission.later(operation)
        if at_once:
            self._urgent.set()
        if not self._releases:
            self._releases = True
            self._changed.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events-leases", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        wait: float | None = None
        while True:
            self._changed.wait(wait)
            try:
                if self._changed.is_set():
                    self._changed.clear()
                    self._send_releases()
                wait = self._renew()
            except redis.RedisError as error:
                logger.warning("leases are not renewed: %s", error)
                self._stop_for(_AFTER_ERROR)
            except Exception:  # a thread that ends would let every lease of the process run out
                logger.exception("leases are not renewed")
                self._stop_for(_AFTER_ERROR)

    def _send_releases(self) -> None:
        """Those that nothing has taken along for a moment."""
        trips = self._admission.trips
        at_once = self._urgent.wait(_PAUSE)
        self._urgent.clear()
        self._releases = False
        if at_once or self._admission.trips == trips:
            self._admission.flush()
        elif self._admission.waiting:  # in a moment perhaps
            self._changed.set()

    def _stop_for(self, seconds: float) -> None:
        """Try again after that: releases may be waiting."""
        time.sleep(seconds)
        self._changed.set()

    def _renew(self) -> float | None:
        """Renew those that a third of is over; seconds until the next, None if there is none."""
        self._idle = True  # before it looks: what is added after that says so
        now = time.monotonic()
        held = [lease for lease in list(self._held.values()) if not lease.refused]
        due = [lease for lease in held if now - lease.renewed_at >= lease.length / 3000]
        if due:
            replies = self._admission.call_many(
                [["renew", lease.member, lease.token, lease.gates, lease.length] for lease in due]
            )
            for lease, renewed in zip(due, replies, strict=True):
                lease.renewed_at = now
                if not renewed:
                    lease.refused = True
                    logger.error(
                        "%s lost its place at %s: it could not be renewed within its lease of %.0f s, or Redis lost it",
                        lease.member, ", ".join(gate.partition("|")[0] for gate in lease.gates), lease.length / 1000,
                    )  # fmt: skip
        if not held:
            return None
        self._idle = False
        return min(min(lease.renewed_at + lease.length / 3000 for lease in held) - now, self._shortest / 3000)
