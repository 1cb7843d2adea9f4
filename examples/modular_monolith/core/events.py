"""The application's events, in the words of its guide: `EventBase`, `event_handler`, `event.publish()`.

The worker and the first `publish()` import the modules named here, and these register their handlers.
"""

from __future__ import annotations

from events_core import EventSystem
from events_core.compat import EventBase, event_handler

__all__ = ["EventBase", "event_handler", "events"]

MODULES = "examples.modular_monolith.modules"

events = EventSystem("monolith", handlers=[f"{MODULES}.{name}" for name in ("email", "notifications", "search")])
