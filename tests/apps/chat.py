"""A chat server without its web: a process that hears what is said, by our bus, and writes each text to a file.

Run as `python -m tests.apps.chat`. Environment: CHAT_BROKER, a URL; CHAT_HEARD, the file; CHAT_OPTIONS, the consumer's,
as JSON; CHAT_HANG, to never return from the first handler.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

from events_core import NotificationEvent
from events_core.brokers import ExchangeBroker
from events_core.bus import EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic

CHAT = Topic("chat")


class Said(NotificationEvent, event_type="chat.said", topic="chat"):
    text: str


class Left(NotificationEvent, event_type="chat.left", topic="chat"):
    name: str


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    heard = os.open(os.environ["CHAT_HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def on_said(event: Said) -> None:
        if os.environ.get("CHAT_HANG"):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.001)
        os.write(heard, f"{event.text}\n".encode())

    options: dict[str, Any] = json.loads(os.environ.get("CHAT_OPTIONS", "{}"))
    consumer = EventHandlerConsumer("rooms", {Said: [on_said]}, **options)
    bus = EventBus(ExchangeBroker(os.environ["CHAT_BROKER"]), "chat", shutdown_timeout=2.0)
    await bus.register(IntegrationEventBusRegistration(consumer, CHAT, [Said]))
    async with bus:
        print("ready.", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
