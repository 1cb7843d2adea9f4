"""Django: ``INSTALLED_APPS = [..., "events_core.contrib.django"]`` and the setting ``EVENTS``; see docs/django.md.

::

    from events_core.contrib.django import events

is the project's EventSystem, made from the settings when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events_core import EventSystem

    events: EventSystem

__all__ = ["events"]


def __getattr__(name: str) -> Any:
    """`events`. Raises ImproperlyConfigured, which says what is wrong with the setting EVENTS."""
    if name != "events":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from events_core.contrib.django.system import get_system

    return get_system()
