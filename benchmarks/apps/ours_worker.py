"""`events worker -A benchmarks.apps.ours_worker`."""

from __future__ import annotations

from benchmarks.apps.ours import bind
from events_core import EventSystem

events = bind(EventSystem("bench"))
