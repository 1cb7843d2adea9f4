"""The Django app."""

from __future__ import annotations

import importlib

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from events_core.contrib.django.checks import check_application, check_settings
from events_core.contrib.django.system import DISCOVERED, get_system


class EventsConfig(AppConfig):
    """Makes the system and binds the handlers of all apps when Django starts. Touches no network."""

    name = "events_core.contrib.django"
    label = "celery_events"  # the last part of the name would be "django"
    verbose_name = "Events"

    def ready(self) -> None:
        """Called by Django when all models are loaded. Raises what a `handlers.py` raises."""
        checks.register(check_settings)
        checks.register(check_application, deploy=True)
        try:
            get_system()  # here, so that a worker of the project's own Celery app learns of it
        except ImproperlyConfigured:
            return  # said by `manage.py check`, and to whoever asks for `events`
        importlib.import_module(DISCOVERED)
