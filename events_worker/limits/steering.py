"""What an operator changes while work goes on: limits in force, holders that are dead, pauses."""

from __future__ import annotations

from typing import Any

from events_core.admission.client import Admission


def set_limit(admission: Admission, name: str, maximum: int) -> None:
    """Put a limit in force instead of the code's, until `unset_limit`. Those that run are not interrupted."""
    _steer(admission, ["override", f"limit:{name}", str(maximum)])


def unset_limit(admission: Admission, name: str) -> None:
    """Put the limit of the newest deployment in force again."""
    _steer(admission, ["override", f"limit:{name}", False])


def evict(admission: Admission, gate: str, delivery: str) -> bool:
    """Give the place of a holder that is known to be dead to the next; False if it holds none."""
    return bool(_steer(admission, ["evict", delivery, gate]))


def pause(admission: Admission, handler: str) -> None:
    """Park the handler's deliveries from now on; workers know within a second."""
    _steer(admission, ["pause", handler])


def resume(admission: Admission, handler: str) -> None:
    """Let the handler's deliveries go on, in their order."""
    _steer(admission, ["resume", handler])


def _steer(admission: Admission, operation: list[Any]) -> Any:
    reply = admission.call(operation)
    admission.flush()  # what it granted was published: this process does not live to say so with a next operation
    return reply
