"""Importing this module imports `handlers.py` of every installed app, which binds its handlers.

A web process does so when Django starts, a worker when it loads the system.
"""

from __future__ import annotations

import django
from django.apps import apps
from django.utils.module_loading import autodiscover_modules

if not apps.models_ready:
    if apps.loading:
        raise RuntimeError(
            "an event was emitted while Django starts: its handlers, which may import models, cannot be imported yet. "
            "Emit it when django.setup() is done"
        )
    django.setup()
autodiscover_modules("handlers")
