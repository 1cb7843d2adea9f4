"""How one run of a delivery ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: Why a delivery became a dead letter.
Reason = Literal[
    "exhausted",  # every attempt failed
    "gave_up",  # the handler raised GiveUp, or an exception of Retry(give_up_on=...)
    "poison",  # it ended its process, or may have, three times
    "unknown_handler",  # no worker knew its handler within UNKNOWN_GRACE
    "unknown_event",  # no worker knew its event type or version within UNKNOWN_GRACE
    "undecodable",  # the message is no delivery, or no event of another service
    "invalid",  # another service's event does not fit its class, or an upcaster failed
    "oversize",  # another service's message has more than MAX_EVENT_BYTES
    "too_many_hops",  # more than MAX_HOPS events followed from one another
    "revoked",  # `celery control revoke`
    "terminated",  # `celery control terminate`
    "expired",  # the message's `expires` passed
]


@dataclass(frozen=True, slots=True)
class Done:
    """The handler succeeded."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """Run it again in `seconds`. `attempt` is the number the next run has."""

    seconds: float
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """Unknown here: another worker may know it by then."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another copy of this delivery is running; look again in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Parked:
    """It waits in Redis until a limit, its order or its group lets it run."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Another copy of this run has settled already; nothing is left to do. how: done, retry or dead, where known."""

    how: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Dead:
    """It will not be tried again by itself."""

    reason: Reason
    error: str = ""
    error_type: str = ""
    traceback: str = ""


Outcome = Done | Delayed | Held | Busy | Parked | Settled | Dead


def is_failure(outcome: Outcome) -> bool:
    """Whether a breaker counts it: RetryLater and GiveUp are answers of a service that lives."""
    if isinstance(outcome, Delayed):
        return outcome.reason != "RetryLater"
    return isinstance(outcome, Dead) and outcome.reason in ("exhausted", "poison")
