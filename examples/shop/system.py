"""The shop's EventSystem."""

from __future__ import annotations

from events_core import EventSystem

events = EventSystem("shop", handlers=["examples.shop.handlers"])
