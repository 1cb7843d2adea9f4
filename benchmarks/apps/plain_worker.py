"""`celery -A benchmarks.apps.plain_worker worker`."""

from __future__ import annotations

import os

from benchmarks.apps.plain import make

app = make(os.environ["EVENTS_BROKER_URL"])
