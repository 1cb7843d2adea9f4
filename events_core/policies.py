"""Policies of a handler: plain frozen values."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from events_core.errors import BindError

#: Seconds that a delay may have at most: ten years.
LONGEST = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a failed delivery is tried again.

    max_attempts: how often the handler is tried in all, the first time included.
    base: seconds before the second attempt. factor: each further delay is so many times the one before.
    max_delay: seconds that no delay exceeds. jitter: the second half of each delay is random, so that deliveries
    which failed together do not come back together.
    on: exception types that are tried again. give_up_on: exception types that are not, although `on` has them.
    """

    max_attempts: int = 5
    base: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0
    jitter: bool = True
    on: tuple[type[BaseException], ...] | type[BaseException] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] | type[BaseException] = ()

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise BindError(f"Retry(max_attempts={self.max_attempts!r}): must be a whole number from 1 on")
        for name in ("base", "factor", "max_delay"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BindError(f"Retry({name}={value!r}): must be a finite number from 0 on")
        if self.max_delay > LONGEST:
            raise BindError(f"Retry(max_delay={self.max_delay!r}): must be at most {LONGEST} seconds (ten years)")
        for name in ("on", "give_up_on"):
            value = getattr(self, name)
            types = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(item, type) and issubclass(item, BaseException) for item in types):
                raise BindError(f"Retry({name}={value!r}): must be an exception type or a tuple of them")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the attempt with this number (from 1) has failed."""
        try:
            seconds = min(self.max_delay, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            seconds = self.max_delay
        return seconds * (0.5 + random.random() / 2) if self.jitter else seconds

    def retries(self, error: BaseException) -> bool:
        """Whether a failure with this exception is tried again at all."""
        return isinstance(error, self.on) and not isinstance(error, self.give_up_on)


class RetryLater(Exception):
    """Raised by a handler: try this delivery again in `seconds`. Counts as no attempt.

    Raises ValueError unless `seconds` is a number from 0 to ten years.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
            raise ValueError(f"RetryLater({seconds!r}): seconds must be from 0 to {LONGEST} (ten years)")
        self.seconds = seconds
        super().__init__(f"again in {seconds} s")


class GiveUp(Exception):
    """Raised by a handler: this delivery will never succeed; make it a dead letter now."""

    def __init__(self, reason: str = "the handler gave up") -> None:
        self.reason = reason
        super().__init__(reason)
