"""What has become of the events of a queue, in this process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Counted from the start of the process, repeats included.

    connected: whether the broker answered last. received: messages that came. handled: those whose handlers have
    succeeded. skipped: of types that nobody here asked for. refused: those that are no such events, by reason.
    failed: those with a handler that failed for good. retried: further attempts of handlers. given_back: messages that
    came and were not handled, which the broker delivers again. outages: how often the broker went away.
    """

    connected: bool = False
    received: int = 0
    handled: int = 0
    skipped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    retried: int = 0
    given_back: int = 0
    outages: int = 0
