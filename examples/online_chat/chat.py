"""What happens in the chat, and the bus that tells every server of it."""

from __future__ import annotations

from collections.abc import Callable

from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker
from events_core.bus import EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic

#: Without an address the messages go through the system's own broker, EVENTS_BROKER_URL.
events = EventSystem("online_chat", message_broker=ExchangeBroker())

CHAT = Topic("chat")


class MessageSent(NotificationEvent, event_type="chat.message_sent", topic="chat"):
    """Somebody has said something. server: the address of the server that took it."""

    author: str
    text: str
    server: str


async def bus_of(show: Callable[[MessageSent], None]) -> EventBus:
    """The bus of one server, to be started: it shows every message, whichever server took it."""
    screens = EventHandlerConsumer("screens", {MessageSent: [show]}, every_instance=True)
    bus = events.bus()
    await bus.register(IntegrationEventBusRegistration(screens, CHAT, [MessageSent]))
    return bus
