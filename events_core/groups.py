"""Groups: events emitted together, of which at most so many deliveries run at once; and what is known of them.

The unit is the delivery, one event for one handler. All members of a group wait in the coordination Redis and are
admitted in the order in which they were emitted; none waits in the broker.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from events_core.admission.turns import Turns
from events_core.events import DomainEvent

#: emitting: its members are still being emitted. abandoned: that has ended before all were. running: all were.
#: completed: all are done, dead or cancelled.
State = Literal["emitting", "abandoned", "running", "completed"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class GroupCompleted(DomainEvent, event_type="group.completed"):
    """All deliveries of a group are done, dead or cancelled.

    Subclass it and give the subclass, or an instance with fields of its own, as `on_complete`. These fields are
    filled in when the group completes; total is the sum of the other numbers.
    """

    group_id: str = ""
    total: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """Where a group stands, in deliveries. total: entered so far; the sum of the other numbers.

    waiting: for a place. running: have one of the `max_parallel` places, and were handed to a worker. retrying: failed,
    and wait for their next attempt. done, dead, cancelled: settled, each once.
    """

    total: int
    waiting: int
    running: int
    retrying: int
    done: int
    dead: int
    cancelled: int
    state: State

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left to be done."""
        over = self.state in ("completed", "abandoned")
        return over and self.done + self.dead + self.cancelled == self.total


class Group:
    """A group of events, known by its id: what `EventSystem.emit_group` returns and `EventSystem.group` finds again.

    Its methods ask the coordination Redis. They raise redis-py's errors where that does not answer, and LookupError
    for a group that it does not know; one that has completed is known for a day. ``await group`` is
    ``await group.finished()``.
    """

    def __init__(self, group_id: str, turns: Callable[[], Turns]) -> None:
        self.id = group_id
        self._turns = turns

    def __repr__(self) -> str:
        return f"<Group {self.id}>"

    def __await__(self) -> Generator[Any, None, GroupProgress]:
        return self.finished().__await__()

    def progress(self) -> GroupProgress:
        """Where it stands now."""
        state, max_parallel, total, done, dead, cancelled, retrying, running = self._ask("progress", self.id)
        if max_parallel == 1:  # what waits for its retry keeps the place
            running = max(running - retrying, 0)
        waiting = max(total - running - retrying - done - dead - cancelled, 0)
        return GroupProgress(total, waiting, running, retrying, done, dead, cancelled, state)

    def wait(self, timeout: float | None = None) -> GroupProgress:
        """Wait until nothing of it is left to be done; that of an abandoned group, too: look at the state.

        timeout: seconds; None is for ever. It asks Redis every 20 ms in the beginning, and every 500 ms in the end.
        Raises TimeoutError.
        """
        for pause in _pauses(timeout):
            time.sleep(pause)
            progress = self.progress()
            if progress.finished:
                return progress
        raise self._late(timeout)

    async def finished(self, timeout: float | None = None) -> GroupProgress:
        """As `wait`, without blocking the event loop."""
        for pause in _pauses(timeout):
            await asyncio.sleep(pause)
            progress = await asyncio.to_thread(self.progress)
            if progress.finished:
                return progress
        raise self._late(timeout)

    def cancel(self) -> None:
        """What has not begun never runs, and counts as cancelled; what runs comes to its end.

        What has failed and waits for its next attempt is cancelled when that is due; what is emitted into the group
        from now on, at once. The group then completes as any other.
        """
        cursor = "0"
        while True:
            cursor = self._ask("cancel", self.id, cursor)
            if cursor == "0":
                return

    def _ask(self, *operation: str) -> Any:
        reply = self._turns().admission.call(list(operation))
        if reply is False:
            raise LookupError(f"no group {self.id} is known: it was never emitted, or completed more than a day ago")
        return reply

    def _late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"the group {self.id} is not finished after {timeout:g} s; it goes on")


def _pauses(timeout: float | None) -> Iterator[float]:
    """None at first, then growing ones until the time is over; in seconds."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    length = _FIRST_PAUSE
    yield 0.0
    while (left := end - time.monotonic()) > 0:
        yield min(length, left)
        length = min(length * 1.5, _LONGEST_PAUSE)
