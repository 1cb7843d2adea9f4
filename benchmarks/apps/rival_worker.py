"""`dramatiq benchmarks.apps.rival_worker:broker`."""

from __future__ import annotations

import os

from benchmarks.apps.rival import make

broker, _ = make(os.environ["EVENTS_BROKER_URL"])
