"""Policies of a handler: plain frozen values."""

from __future__ import annotations

import inspect
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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


#: What tells one customer, tenant or order from another: the path of a field ("customer_id", "address.city"), or a
#: function of the event. Values count as the same where they are the same as text; None is a value like any other.
Key = str | Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Limit:
    """A cluster-wide semaphore: at most `max` deliveries with the same name and key run at once, in all workers.

    name: shared by all handlers that name it. key: gives each of its values `max` places of its own.
    lease: seconds, from 1 to 3600, after which the place of a worker that died is free again; renewed while the
    handler runs. Of several limits of one handler the shortest lease counts. Raises BindError.
    """

    name: str
    max: int
    key: Key | None = None
    lease: float = 30.0

    def __post_init__(self) -> None:
        _check_name(self)
        if self.key is not None:
            check_key(self.key, f"{self!r}: key")
        if not _is_count(self.max):
            raise BindError(f"{self!r}: max must be a whole number from 1 on; to hold all back use `events pause`")
        if not _is_number(self.lease) or not 1 <= self.lease <= 3600:
            raise BindError(f"{self!r}: lease must be from 1 to 3600 seconds")


@dataclass(frozen=True, slots=True)
class Rate:
    """A cluster-wide rate: `count` deliveries with the same name and key begin in `per` seconds, evenly spaced.

    name: shared by all handlers that name it. key: gives each of its values a rate of its own.
    burst: so many may begin at once after a pause. With the default of 1 none comes sooner than per / count seconds
    after the one before; that is a millionth of a second at least. Algorithm: GCRA, ITU-T I.371. Raises BindError.
    """

    name: str
    count: int
    per: float = 1.0
    key: Key | None = None
    burst: int = 1

    def __post_init__(self) -> None:
        _check_name(self)
        if self.key is not None:
            check_key(self.key, f"{self!r}: key")
        for option in ("count", "burst"):
            if not _is_count(getattr(self, option)):
                raise BindError(f"{self!r}: {option} must be a whole number from 1 on")
        if not _is_number(self.per) or not 0 < self.per <= LONGEST:
            raise BindError(f"{self!r}: per must be a number of seconds above 0, at most {LONGEST} (ten years)")
        if self.count > self.per * 1_000_000:
            raise BindError(f"{self!r}: more than a million in a second is no rate: leave it out")


@dataclass(frozen=True, slots=True)
class Breaker:
    """A cluster-wide circuit breaker: after `fail_max` failures in a row deliveries wait for `reset` seconds.

    Then one of them probes: if it succeeds all go on, if it fails they wait again. RetryLater and GiveUp are no
    failures. name: shared by all handlers that name it. reset: from 0.001 to ten years. Raises BindError.
    """

    name: str
    fail_max: int = 5
    reset: float = 60.0

    def __post_init__(self) -> None:
        _check_name(self)
        if not _is_count(self.fail_max):
            raise BindError(f"{self!r}: fail_max must be a whole number from 1 on")
        if not _is_number(self.reset) or not 0.001 <= self.reset <= LONGEST:
            raise BindError(f"{self!r}: reset must be from 0.001 to {LONGEST} seconds (ten years)")


#: What becomes of the deliveries behind a dead one of the same key: they go on, or wait until it is redriven.
OnDead = Literal["continue", "hold"]


def check_key(key: Any, what: str) -> None:
    """Raise BindError unless it can be the key of an event. what: whose key it is."""
    if inspect.iscoroutinefunction(key):
        raise BindError(f"{what} must be a plain function: {key!r} is async, and would give each event another key")
    if not callable(key) and not (isinstance(key, str) and all(part.isidentifier() for part in key.split("."))):
        raise BindError(f"{what} must be the path of a field, such as 'customer_id', or a function of the event")


def _check_name(policy: Limit | Rate | Breaker) -> None:
    if not isinstance(policy.name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", policy.name):
        raise BindError(f"{policy!r}: a name consists of letters, digits and _ . : -, a letter or digit first")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
