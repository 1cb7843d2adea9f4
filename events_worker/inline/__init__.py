"""The worker inside a test: the real execution and settlement, on a ledger, schedule and dead letters in memory.

Loaded by `events_core.testing`, which documents it.
"""

from events_worker.inline.worker import InlineWorker

__all__ = ["InlineWorker"]
