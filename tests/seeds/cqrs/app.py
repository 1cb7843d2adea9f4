"""python-cqrs's page on the flow of events, block by block. What it leaves out stands between the blocks."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from events_core import DomainEvent, Event, EventMap
from events_core.compat import EventEmitter
from events_core.mediator import Request, RequestHandler, RequestMap
from events_core.processor import EventProcessor
from tests.seeds.record import say

STORAGE: dict[int, list[int]] = defaultdict(list)


class JoinMeetingCommand(Request):
    meeting_id: int
    user_id: int


class UserJoined(DomainEvent):
    user_id: int
    meeting_id: int


# --- cqrs 1: as it is
class JoinMeetingCommandHandler(RequestHandler[JoinMeetingCommand, None]):
    def __init__(self):
        self._events: list[Event] = []

    @property
    def events(self) -> list[Event]:
        return self._events

    async def handle(self, request: JoinMeetingCommand) -> None:
        # Business logic
        STORAGE[request.meeting_id].append(request.user_id)

        # Collect domain event
        self._events.append(UserJoined(user_id=request.user_id, meeting_id=request.meeting_id))


# --- between
def welcome(event: UserJoined) -> None:
    say("welcome", event.user_id)


def count(event: UserJoined) -> None:
    say("count", event.meeting_id)


event_map = EventMap()
event_map.bind(UserJoined, welcome)
event_map.bind(UserJoined, count)
emitter = EventEmitter(event_map)
request_map = RequestMap()
request_map.bind(JoinMeetingCommand, JoinMeetingCommandHandler)


class Dispatcher:
    """A stand-in for python-cqrs's: the second block is a part of its mediator."""

    async def dispatch(self, request: Request) -> Any:
        handler = JoinMeetingCommandHandler()
        await handler.handle(request)
        return handler


class OwnMediator:
    def __init__(self) -> None:
        self._dispatcher = Dispatcher()
        self._event_processor = EventProcessor(emitter, max_concurrent_event_handlers=1)

    async def send(self, request: Request) -> None:
        # --- cqrs 2: as it is
        dispatch_result = await self._dispatcher.dispatch(request)

        # Events are emitted through EventProcessor
        # EventProcessor uses EventEmitter which handles:
        # - DomainEvent: processes via event handlers (in-process)
        # - NotificationEvent: sends to message broker
        await self._event_processor.emit_events(dispatch_result.events)
