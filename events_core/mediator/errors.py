"""The errors of a mediator."""

from __future__ import annotations

from events_core.errors import EventsError


class RequestHandlerDoesNotExist(EventsError, LookupError):
    """No handler is bound to the class of a request."""


class HandlerInUse(EventsError, RuntimeError):
    """One handler instance with a list of events of its own was given two requests at once."""
