"""The account: every delivery that was promised, and what is proven of each.

Promised: what `emit` reported to the shop, and what follows from each handler's events. Done: the journal that the
handlers write, by delivery id. Dead: the dead-letter store. What is neither in the end is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from uuid import UUID

from events_core import EventSystem, Limit
from events_core.catalog import find
from events_core.ids import delivery_id
from events_worker.parts import parts_of
from examples.shop.journal import open_journal
from examples.shop_demo.orders import Accepted


@dataclass(slots=True)
class Tally:
    """What became of a handler's deliveries.

    retried: the runs that failed and were followed by another. at_once: how many ran at the same time at most, in
    all workers. limit: how many may, where that is limited.
    """

    expected: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    at_once: int = 0
    limit: int | None = None

    @property
    def open(self) -> int:
        """Neither done nor dead: in flight, or lost."""
        return self.expected - self.done - self.dead


class Account:
    """The deliveries of one demo."""

    def __init__(self, system: EventSystem, journal: Path) -> None:
        self._system = system
        self._journal = open_journal(str(journal))
        self._read_to = 0
        self._declined: set[str] = set()
        self._failed: list[str] = []
        self._first_starts: dict[str, tuple[str, float, float]] = {}
        self._spans: dict[str, list[tuple[float, float]]] = {}  # handler -> when each of its runs began and ended
        self.emitted = 0
        self.expected: dict[str, str] = {}  # delivery id -> handler
        self.done: set[str] = set()
        self.dead: set[str] = set()

    def promise(self, order: Accepted) -> None:
        """The shop has emitted an order."""
        self.emitted += 1
        for handler, delivery in order.deliveries.items():
            self.expected[delivery] = handler
            if order.declined and handler.endswith(".charge"):
                self._declined.add(delivery)

    def read(self) -> None:
        """Take in what has happened since the last time."""
        self.read_journal()
        self.dead = {letter.id for letter in parts_of(self._system).dead_letters.find()} - self.done

    def read_journal(self) -> None:
        """Take in what handlers have written since the last time."""
        rows = self._journal.execute("SELECT rowid, * FROM runs WHERE rowid > ? ORDER BY rowid", (self._read_to,))
        for self._read_to, delivery, handler, emitted_at, started_at, began, ended, done, follow_ups in rows.fetchall():
            self._first_starts.setdefault(delivery, (handler, emitted_at, started_at))
            self._spans.setdefault(handler, []).append((began, ended))
            if not done:
                self._failed.append(delivery)
                continue
            self.done.add(delivery)
            for event_type, version, event_id in json.loads(follow_ups):
                self._promise_follow_up(event_type, version, UUID(event_id))

    def _promise_follow_up(self, event_type: str, version: int, event_id: UUID) -> None:
        for spec in self._system.event_map.route(find(event_type, version)):
            self.expected[delivery_id(event_id, spec.name)] = spec.name

    def tallies(self) -> dict[str, Tally]:
        """By handler, in the order of their names."""
        tallies = {spec.name: Tally() for spec in self._system.event_map.handlers}
        for delivery, handler in self.expected.items():
            tally = tallies[handler]
            tally.expected += 1
            tally.done += delivery in self.done
            tally.dead += delivery in self.dead
        for delivery in self._failed:
            if delivery in self.expected:
                tallies[self.expected[delivery]].retried += 1
        for spec in self._system.event_map.handlers:
            tally = tallies[spec.name]
            tally.retried = max(0, tally.retried - tally.dead)  # a dead delivery's last failure had no successor
            tally.at_once = _at_once(self._spans.get(spec.name, []))
            tally.limit = min((limit.max for limit in spec.limits if isinstance(limit, Limit)), default=None)
        return dict(sorted(tallies.items()))

    def total(self) -> Tally:
        """Of all handlers."""
        tallies = self.tallies().values()
        return Tally(*(sum(getattr(t, name) for t in tallies) for name in ("expected", "done", "retried", "dead")))

    def problems(self) -> list[str]:
        """What is not as it should be, in words; only meaningful in the end."""
        found = []
        if lost := self.total().open:
            found.append(f"{lost} deliveries are neither done nor dead")
        if self.dead != self._declined:
            found.append(f"dead are {sorted(self.dead)}, but should be {sorted(self._declined)}")
        if strangers := self.done - self.expected.keys():
            found.append(f"{len(strangers)} deliveries are done that nobody emitted, such as {min(strangers)}")
        return found + self.over_limit()

    def over_limit(self) -> list[str]:
        """Handlers of which more ran at once than their limit lets, in words."""
        return [
            f"{tally.at_once} of {handler} ran at once, and its limit is {tally.limit}"
            for handler, tally in self.tallies().items()
            if tally.limit is not None and tally.at_once > tally.limit
        ]

    def latency(self, percent: float) -> float:
        """Milliseconds from emit to the handler's first start that so many percent of deliveries stayed below.

        Those that may have waited at a limit are left out.
        """
        limited = {spec.name for spec in self._system.event_map.handlers if spec.limits}
        starts = (start for start in self._first_starts.values() if start[0] not in limited)
        waits = sorted(started - emitted for _, emitted, started in starts)
        return 1000 * waits[min(len(waits) - 1, int(len(waits) * percent / 100))] if waits else 0.0

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def _at_once(spans: list[tuple[float, float]]) -> int:
    """How many of the spans of time have a moment in common, at most."""
    changes = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(accumulate(change for _, change in changes), default=0)
