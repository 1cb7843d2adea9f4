"""How integration events are written: `cloudevents`, `classic`, `flat`, `record`."""

from __future__ import annotations

from events_core.brokers.base import Format


def format_named(name: str) -> Format:
    """The format of that name. Raises ConfigurationError, which names the choices."""
    raise NotImplementedError(name)
