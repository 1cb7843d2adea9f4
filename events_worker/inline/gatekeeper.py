"""Order and groups of one at a time, where deliveries run one after another anyway.

One at a time satisfies every limit. What is left is to wait for retries: behind what will be tried again, the
next one of its order, and of its group with ``max_parallel=1``, must not run. Breakers stay closed, rates do not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events_core.emitter import GROUP_HEADER
from events_core.event_map import EventMap
from events_core.publishing.messages import Message
from events_core.publishing.stored import StoredMessage
from events_core.testing.group_book import GroupBook
from events_worker.limits.gatekeeper import Gatekeeper
from events_worker.outcome import Dead, Delayed, Done, Held, Outcome, Parked
from events_worker.redaction import redacted
from events_worker.retries import after_failure
from events_worker.run import Run


class InlineGatekeeper(Gatekeeper):
    """As `Gatekeeper`. go_on: given the deliveries that have waited and may run now, in order, before all others."""

    def __init__(self, event_map: EventMap, book: GroupBook, go_on: Callable[[list[Message]], None]) -> None:
        self._map = event_map
        self._paused: Any = ()  # nobody pauses a handler here
        self._book = book
        self._go_on = go_on
        self._holders: dict[str, str] = {}
        self._parked: list[tuple[list[str], StoredMessage]] = []

    @property
    def parked(self) -> list[StoredMessage]:
        """What waits behind another delivery."""
        return [message for _, message in self._parked]

    def clear(self) -> None:
        """Nothing is held any more, and nothing waits."""
        self._holders.clear()
        self._parked.clear()

    def admit(self, run: Run) -> Outcome | None:
        """See `Gatekeeper.admit`."""
        assert run.spec is not None
        assert run.envelope is not None
        try:
            self.find_gates(run)
        except Exception as error:  # a key of the application's
            failure = redacted(error, run.envelope)
            return after_failure(error, failure, run.spec.retry, attempt=run.attempt, starts=run.starts)
        run.member = self.member_of(run) or run.task_id
        run.gates = [gate for gate in run.gates if self._is_serial(gate)]
        if any(self._holders.get(gate, run.member) != run.member for gate in run.gates):
            self._parked.append((run.gates, run.waiting_message()))
            return Parked()
        self._holders |= dict.fromkeys(run.gates, run.member)
        return None

    def _is_serial(self, gate: str) -> bool:
        group = gate.removeprefix("group:").removesuffix("|")
        return gate.startswith("order:") or (group != gate.removesuffix("|") and self._book.max_parallel(group) == 1)

    def dismiss(self, run: Run, outcome: Outcome) -> None:
        """See `Gatekeeper.dismiss`."""
        group = run.headers.get(GROUP_HEADER)
        how = _how(outcome)
        if isinstance(group, str) and how is not None:
            self._book.settle(group, run.member or run.task_id, how)
        if isinstance(outcome, Delayed | Held | Parked):
            return
        held = isinstance(outcome, Dead) and run.spec is not None and run.spec.on_dead == "hold"
        for gate in [gate for gate, holder in self._holders.items() if holder == run.member]:
            if not (held and gate.startswith("order:")):
                del self._holders[gate]
        free = [(gates, message) for gates, message in self._parked if not self._holders.keys() & set(gates)]
        self._parked = [waiting for waiting in self._parked if waiting not in free]
        self._go_on([message.message() for _, message in free])

    def turn_away(self, run: Run, outcome: Outcome) -> None:
        """See `Gatekeeper.turn_away`."""
        run.member = run.member or self.member_of(run) or run.task_id
        self.dismiss(run, outcome)

    def abandon(self, run: Run) -> None:
        """See `Gatekeeper.abandon`. The test fails of it."""


def _how(outcome: Outcome) -> str | None:
    if isinstance(outcome, Dead):
        return "dead"
    if isinstance(outcome, Delayed | Held):
        return "retry"
    return "done" if isinstance(outcome, Done) else None
