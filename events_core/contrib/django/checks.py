"""`manage.py check`: the setting EVENTS; with ``--deploy`` also what `events check` says without a network."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from events_core.contrib.django.system import get_system
from events_core.contrib.django.worker_side import static_findings


def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``celery_events.E001``: the setting EVENTS cannot work."""
    try:
        get_system()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="celery_events.E001")]
    return []


def check_application(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``celery_events.E002`` and ``W001``: what is not as it should be in events, handlers and the Celery app."""
    try:
        system = get_system()
    except ImproperlyConfigured:
        return []  # said above
    return [
        Error(text, id="celery_events.E002") if level == "error" else Warning(text, id="celery_events.W001")
        for level, text in static_findings(system)
    ]
