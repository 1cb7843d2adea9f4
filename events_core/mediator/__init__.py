"""Mediator: a request goes to its one handler, and what that has collected is emitted.

::

    request_map = RequestMap()
    request_map.bind(JoinMeeting, JoinMeetingHandler)
    mediator = Mediator(request_map=request_map, event_emitter=events)
    response = await mediator.send(JoinMeeting(meeting_id=1, user_id=2))
"""

from events_core.errors import HandlerInUse, RequestHandlerDoesNotExist
from events_core.mediator.mediator import EmitsEvents, Mediator, ProcessesEvents
from events_core.mediator.request_map import RequestMap
from events_core.mediator.requests import Request, RequestHandler

__all__ = [
    "EmitsEvents",
    "HandlerInUse",
    "Mediator",
    "ProcessesEvents",
    "Request",
    "RequestHandler",
    "RequestHandlerDoesNotExist",
    "RequestMap",
]
