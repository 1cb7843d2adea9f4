"""The README of ACherryJam/events, block by block: integration events."""

from __future__ import annotations

import asyncio
import os

from events_core import EventSystem
from events_core.brokers import ExchangeBroker
from events_core.bus import Consumer, EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic
from events_core.compat import IntegrationEvent

events = EventSystem("acherryjam", message_broker=ExchangeBroker(os.environ["EVENTS_BROKER_URL"]))
heard: asyncio.Queue[str] = asyncio.Queue()


class EventType1(IntegrationEvent):
    type = "one"
    version = 1


class EventType2(IntegrationEvent):
    type = "two"
    version = 1


def IntegrationEventBusImpl() -> EventBus:
    return events.bus()


# --- acherryjam 7: changed
async def send() -> None:
    bus = IntegrationEventBusImpl()
    await bus.startup()

    await bus.send(topic=Topic("topic_name"), event=EventType1())

    await bus.shutdown()


# --- between
class Hearing(Consumer):
    async def on_event(self, event: IntegrationEvent) -> None:
        await heard.put(f"{self.name}: {event.type}")


async def app_main_loop() -> None:
    await send()
    assert await asyncio.wait_for(heard.get(), 20) == "consumer_name: one"


# --- acherryjam 8: changed
async def main() -> None:
    bus = IntegrationEventBusImpl()

    await bus.register(
        IntegrationEventBusRegistration(
            consumer=Hearing(name="consumer_name"), topic=Topic(name="topic_name"), events=[EventType1, EventType2]
        )
    )
    await bus.startup()

    # app main loop
    await app_main_loop()

    await bus.shutdown()


# --- acherryjam 9: changed
async def print_event(event: UserRegisteredV1):
    print(event.email, "registered!")
    await heard.put(event.email)


async def register(bus: EventBus) -> None:
    consumer = EventHandlerConsumer(
        name="email",
        handlers={
            UserRegisteredV1: [
                print_event,
            ]
        },
    )

    await bus.register(
        IntegrationEventBusRegistration(consumer=consumer, topic=Topic("users"), events=consumer.handlers.keys())
    )


# --- between
def why_not_pydantic() -> list[object]:
    # --- acherryjam 10: replaced
    class UserRegisteredV1(IntegrationEvent):
        type = "users.registered"
        version = 1

        email: str

    event = UserRegisteredV1(email="a@localhost")
    print(UserRegisteredV1.type)  # Works
    print(event.type)  # Works
    return [UserRegisteredV1.type, event.type]


def why_not_pydantic_with_fields() -> list[object]:
    # --- acherryjam 11: replaced
    class UserRegistered(IntegrationEvent):
        type: str = "users.registered"
        version: int = 1

        email: str

    event = UserRegistered(email="a@localhost")
    print(event.type)  # Works
    print(UserRegistered.type)  # Works
    return [event.type, UserRegistered.type]


# --- acherryjam 12: changed
class UserRegisteredV1(IntegrationEvent):
    type: str = "user.registered"
    version: int = 1

    email: str


# --- acherryjam 13: as it is
event = UserRegisteredV1(email="bbb@gmail.com")

payload = event.to_dict()
print(payload)
# { "type": "user.registered", "version": 1, "email": "bbb@gmail.com" }

constructed_event = IntegrationEvent.from_dict(payload)
print(constructed_event)
# UserRegisteredV1(type="user.registered", version=1, email="bbb@gmail.com")
