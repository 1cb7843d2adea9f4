"""What becomes of groups when their emitter and their members are done: each worker's clock looks after them."""

from __future__ import annotations

import logging
from typing import Any

from events_core import EventSystem
from events_core.admission.client import Admission
from events_core.errors import InvalidEnvelope
from events_core.group_completion import Completion

logger = logging.getLogger(__name__)

#: Milliseconds that a worker has for emitting a completion event, before another does; and between two looks at whether
#: an abandoned group can be freed.
_LEASE, _PAUSE = 30_000, 5_000


def look_after_groups(system: EventSystem, admission: Admission) -> None:
    """Emit the completion events that are due, free what is over, and tell of groups whose emitter has died.

    Raises redis-py's errors.
    """
    completed, abandoned = admission.call_many([["completed", _LEASE], ["abandoned", _PAUSE]])
    for group in completed:
        if _emit_completion(system, *group):
            admission.call(["free", group[0]])
    for group_id, total, name in abandoned:
        logger.warning(
            "the group %s was not emitted to its end: its emitter died or failed after %s deliveries, which run; there "
            "will be no completion event",
            _label(group_id, name),
            total or 0,
        )


def _emit_completion(
    system: EventSystem, group_id: str, total: Any, done: Any, dead: Any, cancelled: Any, name: Any, *kept: Any
) -> bool:
    """Whether it is with the broker, or there is none. It may be emitted twice, under one id."""
    figures = {"total": total, "done": done, "dead": dead, "cancelled": cancelled}
    counts = {what: int(number or 0) for what, number in figures.items()}
    completion, cause = kept
    if not completion:
        return True
    try:
        restored = Completion.restored(completion, cause or None, {"group_id": group_id, **counts})
        messages = system.emitter.messages_of(restored.event, restored.scope)
        if messages:
            system.emitter.publish(messages)
    except Exception as error:  # the application's too; one group must not keep the others waiting
        logger.warning(
            "the completion event of the group %s waits, again in %d s: %s",
            _label(group_id, name),
            _LEASE // 1000,
            error if isinstance(error, InvalidEnvelope) else type(error).__name__,
        )
        return False
    logger.info("the group %s is completed: %s", _label(group_id, name), counts)
    return True


def _label(group_id: str, name: Any) -> str:
    return f"{name} ({group_id})" if name else group_id
