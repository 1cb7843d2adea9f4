"""Deliveries for what this worker does not know: held, looked at again by any worker, buried after UNKNOWN_GRACE."""

from __future__ import annotations

import time
from typing import Literal

from events_core.errors import UndecodableEvent
from events_worker.outcome import Dead, Held
from events_worker.run import Run

#: Seconds between two looks grow with the age, within these. In the middle of a deploy each look finds an old worker
#: about half of the time: so they come often.
_SOONEST, _LATEST = 1.0, 10.0


def held_since(run: Run) -> float:
    """When the delivery was held first, in seconds since the epoch; now, where a header names no time in the past."""
    since = run.time("events-held-since")
    return since if 0 <= since <= run.started_at else run.started_at


def unknown_handler(name: str) -> UndecodableEvent:
    """The error of a delivery for a handler that this worker does not know."""
    return UndecodableEvent(
        f"no handler {name!r} is bound here: name the module that binds it in EventSystem(..., handlers=[...]), or "
        "start a worker that knows it"
    )


def hold_or_bury(
    run: Run, reason: Literal["unknown_handler", "unknown_event"], error: Exception, grace: float
) -> Held | Dead:
    """Hold the delivery, unless it has been held for `grace` seconds."""
    age = time.time() - held_since(run)
    left = grace - age
    if left <= 0:
        return Dead(reason, f"{error}; held for {grace:g} s", type(error).__name__)
    return Held(min(max(_SOONEST, age / 20), _LATEST, left + 0.1), str(error))
