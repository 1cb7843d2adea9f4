"""The system for processes that begin with it: ``events worker -A events_core.contrib.django.worker``.

Importing it sets Django up, by DJANGO_SETTINGS_MODULE, before any handler is imported.
"""

from __future__ import annotations

import django
from django.apps import apps

from events_core import EventSystem
from events_core.contrib.django.system import get_system

if not apps.ready:
    django.setup()

events: EventSystem = get_system()
