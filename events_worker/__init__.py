"""The worker: takes deliveries from the broker, runs their handlers, settles their outcome.

``celery -A events_worker worker`` runs the EventSystem that EVENTS_APP names.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # `celery`, not `app`: the submodule events_worker.app would shadow an attribute of that name.
    if name == "celery":
        from events_core.settings import app_path
        from events_worker.find import find_system

        return find_system(app_path()).celery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
