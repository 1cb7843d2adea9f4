"""What Celery does to a message behind the handler's back (revoke, terminate, expire): a dead letter first."""

from __future__ import annotations

import threading
from typing import Any

from celery.worker.request import Request

from events_core.admission.turns import GRANT_HEADER
from events_worker.burial import undertaker
from events_worker.outcome import Dead
from events_worker.parts import parts_of
from events_worker.run import ONCE_HEADER, Run

#: What two messages of one delivery differ by.
_OF_ONE_MESSAGE = (ONCE_HEADER, "events-copy", "events-run", GRANT_HEADER)


class DeliveryRequest(Request):
    """The request of a delivery. Overrides private methods of Celery 5.7."""

    _burying = False

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        # Pool threads acknowledge, the main thread adopts: one message must not be acknowledged twice, or never.
        # One lock for all would have the pool's threads queue up at it: half the rate.
        self._acknowledging = threading.RLock()
        # what the task sees as request.headers; Celery would pick the custom ones out for each task
        self._request_dict["headers"] = message.headers
        # decoded already, and not sent to a child twice: the request holds its parts
        self._body = message.payload
        self._content_type = None

    def is_of(self, message: Any) -> bool:
        """Whether that message is this request's, delivered again, and not another one of the same delivery."""
        mine, other = self._request_dict["headers"], message.headers
        return all(mine.get(name) == other.get(name) for name in _OF_ONE_MESSAGE)

    def adopt(self, on_ack: Any, on_reject: Any) -> bool:
        """Acknowledge this newer copy of the message instead: the connection of the older one is gone.

        False if the older one has just been acknowledged.
        """
        with self._acknowledging:
            if self.acknowledged:
                return False
            self._on_ack = on_ack
            self._on_reject = on_reject
            return True

    def info(self, safe: bool = True) -> dict[str, Any]:
        """What `celery inspect active` shows: the type and id of the event, whether or not the payload is asked for."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        self._burying = True
        try:
            super()._announce_revoked(reason, terminated, signum, expired)
        finally:
            self._burying = False
        if not self.acknowledged:
            undertaker.submit(lambda: self._bury(reason), then=super().acknowledge)

    def _bury(self, reason: Any) -> None:
        system = self.task.system
        run = Run.of(
            self.id,
            self.task.name,
            self.delivery_info.get("routing_key") or system.settings.default_queue,
            self.request_dict["headers"],
            self.args[0] if self.args else None,
            redelivered=False,
        )
        if not self.time_start:
            run.starts -= 1
        error = "a worker was told to drop it; redrive it if that was a mistake"
        parts = parts_of(system)
        parts.settlement.bury(run, Dead(reason, error), force=True)
        parts.gatekeeper.bury(run)

    def acknowledge(self) -> None:
        """Acknowledge, unless the dead letter is not stored yet."""
        if not self._burying:
            with self._acknowledging:
                super().acknowledge()
