"""What a channel has delivered and is not settled: the record in memory; the one that counts is in Redis."""

from __future__ import annotations

import sys
from typing import Any

from kombu.transport import virtual

from events_core.transport.acknowledgements import DELAY
from events_core.transport.errors import FAILED
from events_core.transport.member import Member


class QoS(virtual.QoS):
    """Overrides kombu's, which would record every delivery in Redis a second time."""

    restore_at_shutdown = True

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self.member: Member = channel.member
        self.member.join(self)
        self._closed = False
        self._early: dict[str, bool] = {}

    def held(self) -> list[str]:
        """See `Holder.held`."""
        channel = self.channel
        dirty = self._dirty
        return [*channel.buffered(), *(tag for tag in _copy(self._delivered) if tag not in dirty)]

    def consumed(self) -> set[str]:
        """See `Holder.consumed`."""
        consumed: set[str] = self.channel.consumed()
        return consumed

    def expiring(self) -> dict[str, int]:
        """See `Holder.expiring`."""
        found: dict[str, int] = self.channel.expiring()
        return found

    def can_consume(self) -> bool:
        """See kombu's."""
        return not self.prefetch_count or self._unsettled() < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        """See kombu's."""
        return max(self.prefetch_count - self._unsettled(), 0) if self.prefetch_count else None

    def _unsettled(self) -> int:
        return len(self._delivered) - len(self._dirty)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge: soon, together with others; at once where the task acknowledges before it runs."""
        message = self._delivered.get(delivery_tag)
        first = self.member.acknowledgements.add(delivery_tag)
        self.settle(delivery_tag)
        if message is not None and self._acknowledges_early(message.headers.get("task")):
            self.member.acknowledgements.flush()
        elif first or not self.member.acknowledgements:  # sent before it was settled: there is room to be read into
            self.channel.flush_within(DELAY)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Delete the message, or give it back to its queue."""
        if requeue:
            self.member.give_back([delivery_tag], in_vain=True)
            self.settle(delivery_tag)
        else:
            self.ack(delivery_tag)

    def settle(self, delivery_tag: str) -> None:
        """It is settled, by whatever way. Called from any thread."""
        self._quick_ack(delivery_tag)
        if self._closed:
            self.member.settled(delivery_tag)

    def _acknowledges_early(self, task: object) -> bool:
        """Whether messages of that Celery task are acknowledged before it runs: it must never run twice."""
        if not isinstance(task, str):
            return False
        early = self._early.get(task)
        if early is None:
            celery = sys.modules.get("celery")
            found = celery.current_app.tasks.get(task) if celery is not None else None
            early = self._early[task] = found is not None and not found.acks_late
        return early

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Nothing: the member's thread recovers what dead processes held."""

    def restore_unacked(self) -> None:
        """Give back everything that is not settled."""
        self._flush()
        self.member.give_back([*self._delivered])
        self._delivered.clear()

    def close(self, *, lost: bool) -> None:
        """The channel has closed. lost: its connection had, and what still runs here stays ours until it is settled."""
        self._on_collect.cancel()
        self._flush()
        self._closed = True
        try:
            if not lost:
                self.member.acknowledgements.flush()
                self._flush()  # what another thread has acknowledged meanwhile is not given back
                self.member.give_back([*self._delivered])
        except FAILED:
            lost = True
        if lost:
            dropped = _scheduled()
            self.member.adopt({tag: message for tag, message in self._delivered.items() if tag not in dropped})
            for tag in [*self._dirty]:  # settled by another thread that has not seen yet that this has closed
                self.member.settled(tag)
        self._delivered.clear()
        self._delivered.restored = True

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Nothing: closing the channel has done it, and the member does at the process's end."""


def _scheduled() -> set[str]:
    """The tags of tasks that wait for their `eta`: Celery drops them when the connection is lost.

    It leaves them in reference cycles, and until their time in its timer, so that nobody would see them go.
    """
    state = sys.modules.get("celery.worker.state")
    return {request.message.delivery_tag for request in list(state.scheduled_requests)} if state is not None else set()


def _copy(delivered: dict[str, Any]) -> list[str]:
    """Its tags, although the consuming thread may change it meanwhile."""
    while True:
        try:
            return [*delivered]
        except RuntimeError:
            continue
