"""`events worker -A benchmarks.apps.limited_worker`. Marks when it is ready."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready

from benchmarks.apps.limited import SYSTEM, bind
from benchmarks.apps.marks import mark
from events_core import EventSystem

events = bind(EventSystem(SYSTEM))


def _ready(**_: Any) -> None:
    mark()


worker_ready.connect(_ready)
