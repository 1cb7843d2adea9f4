"""A process that receives integration events with a no-op handler: our bus, or FastStream's RabbitMQ subscriber.

`python -m benchmarks.apps.bus SIDE URL [SECONDS]`: for each number read from stdin it handles that many and prints how
many it handled per second, and the microseconds of processor time that one took. SECONDS: of each handler's run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from events_core import NotificationEvent
from events_core.brokers import ExchangeBroker
from events_core.bus import EventBus, EventHandlerConsumer, IntegrationEventBusRegistration, Topic

TOPIC = "bench"
#: Where what FastStream gets is sent: it decodes ``application/json`` by itself.
THEIR_TOPIC = "bench-faststream"
PREFETCH = 100


class Said(NotificationEvent, event_type="bench.said", topic=TOPIC):
    """What is sent."""

    room: str
    author: str
    text: str
    likes: int = 0


KEY = f"{Said.event_kind}.{Said.event_type}"


class Count:
    """Counts what is handled, and keeps the time of each."""

    def __init__(self, number: int) -> None:
        self.at: list[float] = []
        self.done = asyncio.Event()
        self._number = number

    def one(self) -> None:
        """One more."""
        self.at.append(time.perf_counter())
        if len(self.at) >= self._number:
            self.done.set()

    @property
    def rate(self) -> float:
        """Per second, from the first tenth to the last: starting and running dry are left out."""
        low, high = len(self.at) // 10, len(self.at) * 9 // 10
        return (high - low) / (self.at[high] - self.at[low])


#: Runs until so many are handled.
Side = Callable[[str, Count, float], Awaitable[None]]


async def ours(url: str, count: Count, seconds: float) -> None:
    """Our bus."""

    async def handler(event: Said) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        count.one()

    consumer = EventHandlerConsumer("ours", {Said: [handler]}, prefetch=PREFETCH)
    bus = EventBus(ExchangeBroker(url), "bench")
    await bus.register(IntegrationEventBusRegistration(consumer, Topic(TOPIC), [Said]))
    async with bus:
        await count.done.wait()


async def faststream(url: str, count: Count, seconds: float) -> None:
    """FastStream, which acknowledges after the handler as well."""
    from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue

    broker = RabbitBroker(url, default_channel=Channel(prefetch_count=PREFETCH), logger=None)
    queue = RabbitQueue(f"{TOPIC}.faststream", durable=True, routing_key=KEY)

    @broker.subscriber(queue, RabbitExchange(THEIR_TOPIC, type=ExchangeType.TOPIC, durable=True))
    async def handler(body: dict[str, Any]) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        count.one()

    async with broker:
        await broker.start()
        await count.done.wait()


SIDES: dict[str, Side] = {"ours": ours, "faststream": faststream}


def main() -> None:
    """Answer until stdin ends."""
    side, url, *seconds = sys.argv[1:]
    for line in sys.stdin:
        count = Count(int(line))
        before = time.process_time()
        asyncio.run(_once(SIDES[side], url, count, float(seconds[0]) if seconds else 0.0))
        spent = (time.process_time() - before) / int(line) * 1e6
        print(json.dumps({"rate": count.rate, "cpu": spent}), flush=True)


async def _once(side: Side, url: str, count: Count, seconds: float) -> None:
    await side(url, count, seconds)


if __name__ == "__main__":
    main()
