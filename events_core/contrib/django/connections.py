"""Database connections in a worker: none outlives its delivery.

Those of sync handlers are closed before and after each task by Celery itself (celery.fixups.django, which is active
wherever DJANGO_SETTINGS_MODULE is set). Django runs the queries of async code in another thread, which Celery does not
know of: here.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

from events_core.events import Event


class OwnThread:
    """Middleware: the queries of each async delivery run in a thread of its own, as those of each ASGI request do.

    Without it all of a process share one thread, and so one connection, and one waits for the other. The thread is made
    for the first query; its connections are closed at the end.
    """

    def __call__(self, event: Event, handle: Any) -> Any:
        """What the handler returns."""
        context = ThreadSensitiveContext()
        token = SyncToAsync.thread_sensitive_context.set(context)
        try:
            return handle(event)
        finally:
            SyncToAsync.thread_sensitive_context.reset(token)
            executor: Executor | None = SyncToAsync.context_to_thread_executor.pop(context, None)
            if executor is not None:
                executor.submit(connections.close_all)
                executor.shutdown(wait=False)  # a query that hangs does not keep a delivery that has timed out
