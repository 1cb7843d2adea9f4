"""What a test sees of captured events: deliveries that wait, runs of handlers, dead letters; and its clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from events_core.events import Event
from events_core.testing.telling import shown


class Clock:
    """The clock of retries in a test: it stands still until the test moves it. It is no clock of anything else."""

    def __init__(self) -> None:
        #: Seconds since the test began.
        self.now = 0.0

    def __repr__(self) -> str:
        return f"<Clock {self.now:g} s>"

    def advance(self, seconds: float) -> None:
        """Move on. What has become due runs with the next `run()`. Raises ValueError for negative seconds."""
        if seconds < 0:
            raise ValueError(f"advance({seconds!r}): time goes forward")
        self.now += seconds


@dataclass(frozen=True, slots=True, repr=False)
class PendingDelivery:
    """One event for one handler that has not been run to its end. attempt: the number that its next attempt has.

    due_in: seconds of the test's clock until it is due.
    """

    handler: str
    event: Event
    queue: str
    attempt: int = 1
    due_in: float = 0.0

    def __repr__(self) -> str:
        due = f", attempt {self.attempt} in {self.due_in:g} s" if self.due_in else ""
        return f"<{shown(self.event)} for {self.handler}{due}>"


@dataclass(frozen=True, slots=True, repr=False)
class Handled:
    """One run of a handler.

    outcome: "done"; "retry", with `again_in` seconds of the test's clock; "dead"; "waits" behind another one of its
    order or group; "settled" where another copy of it was done before; "failed" of a Celery task of the application's.
    returned, error: what the handler returned and what it raised. emitted: what followed, in order.
    """

    handler: str
    event: Event
    outcome: Literal["done", "retry", "dead", "waits", "settled", "failed"]
    attempt: int = 1
    returned: Any = None
    error: BaseException | None = None
    emitted: list[Event] = field(default_factory=list)
    again_in: float | None = None

    def __repr__(self) -> str:
        error = "" if self.error is None else f" ({type(self.error).__name__})"
        return f"<{self.handler} of {shown(self.event)}: {self.outcome}{error}>"


@dataclass(frozen=True, slots=True, repr=False)
class DeadDelivery:
    """A delivery that became a dead letter.

    reason: as `events dead list` shows it ("exhausted", "gave_up", ...). error: the text that is stored, without the
    event's values. exception: what the handler raised last, None where it was not run. event: None where a received
    message could not be read. starts: how often the handler was run.
    """

    handler: str
    event: Event | None
    reason: str
    error: str
    exception: BaseException | None = None
    starts: int = 0

    def __repr__(self) -> str:
        event = "" if self.event is None else f" of {shown(self.event)}"
        return f"<{self.handler or 'no handler'}{event}: {self.reason} after {self.starts} starts: {self.error}>"
