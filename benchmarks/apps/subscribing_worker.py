"""`events worker -A benchmarks.apps.subscribing_worker`."""

from __future__ import annotations

from benchmarks.apps.subscribing import make

events = make()
