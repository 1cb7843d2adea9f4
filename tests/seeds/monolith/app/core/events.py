"""The event system of the modular monolith: what its page defines here is imported."""

from events_core import EventSystem

# --- monolith 1: replaced
# --- monolith 3: replaced
# --- monolith 4: replaced
from events_core.compat import EventBase, event_handler, publish_event

# --- between
__all__ = ["EventBase", "event_handler", "events", "publish_event"]

# --- monolith 2: replaced
events = EventSystem("monolith", handlers=["app.main"])
