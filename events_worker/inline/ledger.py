"""What is known of deliveries beyond their messages, in memory."""

from __future__ import annotations

from dataclasses import dataclass

from events_worker.ledger import Begun, Claimed, Ended, Ledger, Suspect


@dataclass
class _Known:
    settled: int = 0
    how: str = ""
    by: str = ""


class InlineLedger(Ledger):
    """As `Ledger`, in one process in which nobody dies: no start is left unfinished, and no claim held."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def look(self, task_id: str, run: int) -> Begun | Claimed | Ended:
        """See `Ledger.look`."""
        known = self._known.get(task_id)
        return Ended(known.how) if known is not None and known.settled >= run else Begun(0)

    def own(self, task_id: str, run: int, message: str) -> Begun | Claimed | Ended:
        """See `Ledger.own`. What another message owns has settled: one runs after the other."""
        found = self.look(task_id, run)
        if isinstance(found, Ended):
            return found
        known = self._known.setdefault(task_id, _Known(by=message))
        return Begun(1) if known.by in ("", message) else Ended(known.how)

    def begin(self, task_id: str, run: int, *, presumed: int) -> Begun | Suspect | Claimed | Ended:
        """See `Ledger.begin`."""
        found = self.look(task_id, run)
        return found if isinstance(found, Ended) else Begun(presumed + 1)

    def settle(self, task_id: str, run: int, keep: int = 0) -> bool:
        """See `Ledger.settle`. It is kept as long as the test runs."""
        return self.settle_as("done", task_id, run)

    def settle_as(self, how: str, task_id: str, run: int) -> bool:
        """The run is settled: done, retry or dead; False if it was already."""
        known = self._known.setdefault(task_id, _Known())
        fresh = run > known.settled
        if fresh:
            known.settled, known.how = run, how
        return fresh
