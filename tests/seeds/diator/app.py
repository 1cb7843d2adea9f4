"""diator's page on events, block by block. What it leaves out stands between the blocks."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from events_core import DomainEvent, ECSTEvent, Event, EventHandler, EventMap, NotificationEvent
from events_core.brokers import ExchangeBroker
from events_core.compat import EventEmitter, RedisMessageBroker
from events_core.mediator import Mediator, Request, RequestHandler, RequestMap
from tests.seeds.record import say


class JoinMeetingCommand(Request):
    meeting_id: int
    user_id: int


class MeetingAPI:
    async def join(self, meeting_id: int, user_id: int) -> None:
        say("joined", meeting_id, user_id)

    async def notify(self, meeting_id: int, message: str) -> None:
        say("notified", meeting_id, message)


# --- diator 1: changed
class JoinMeetingCommandHandler(RequestHandler[JoinMeetingCommand, None]):
    def __init__(self, meeting_api: MeetingAPI) -> None:
        self._meeting_api = meeting_api
        self._events: list[Event] = []

    @property
    def events(self) -> list[Event]:
        return self._events

    async def handle(self, request: JoinMeetingCommand) -> None:
        await self._meeting_api.join(request.meeting_id, request.user_id)
        self._events.append(
            UserJoinedDomainEvent(user_id=request.user_id, timestamp=datetime.now(UTC), meeting_id=request.meeting_id)
        )
        self._events.append(UserJoinedNotificationEvent(user_id=request.user_id))


# --- diator 2: changed
class UserJoinedDomainEvent(DomainEvent):
    user_id: int
    meeting_id: int
    timestamp: datetime


# --- diator 3: as it is
class UserJoinedDomainEventHandler(EventHandler[UserJoinedDomainEvent]):
    def __init__(self, meeting_api: MeetingAPI) -> None:
        self._meeting_api = meeting_api

    async def handle(self, event: UserJoinedDomainEvent) -> None:
        await self._meeting_api.notify(event.meeting_id, "New user joined!")


# --- between
class AnotherUserJoinedDomainEventHandler(EventHandler[UserJoinedDomainEvent]):
    async def handle(self, event: UserJoinedDomainEvent) -> None:
        say("another", event.user_id)


# --- diator 4: as it is
event_map = EventMap()
event_map.bind(UserJoinedDomainEvent, UserJoinedDomainEventHandler)
event_map.bind(UserJoinedDomainEvent, AnotherUserJoinedDomainEventHandler)


# --- diator 5: changed
class UserJoinedNotificationEvent(NotificationEvent):
    user_id: int


# --- diator 6: changed
class UserChangedECSTEvent(ECSTEvent):
    user_id: int
    new_username: str


# --- between
class Container:
    """As users of diator have one: async."""

    async def resolve(self, wanted: Any) -> Any:
        return wanted() if wanted is AnotherUserJoinedDomainEventHandler else wanted(MeetingAPI())


container = Container()
request_map = RequestMap()
request_map.bind(JoinMeetingCommand, JoinMeetingCommandHandler)

# --- diator 7: as it is
event_map = EventMap()
event_map.bind(UserJoinedDomainEvent, UserJoinedDomainEventHandler)
event_map.bind(UserJoinedDomainEvent, AnotherUserJoinedDomainEventHandler)

event_emitter = EventEmitter(event_map=event_map, container=container)
mediator = Mediator(event_emitter=event_emitter, request_map=request_map, container=container)

# --- diator 8: changed
redis_client = Redis.from_url(os.environ["EVENTS_BROKER_URL"])

message_broker = RedisMessageBroker(client=redis_client)

event_emitter = EventEmitter(event_map=event_map, container=container, message_broker=message_broker)

# --- between
with_redis = event_emitter

# --- diator 9: replaced
message_broker = ExchangeBroker(os.environ["EVENTS_BROKER_URL"])

event_emitter = EventEmitter(event_map=event_map, container=container, message_broker=message_broker)

# --- between: the worker's, of the three that the page makes one after another
with_exchange, event_emitter = event_emitter.system.message_broker, with_redis
del with_redis
