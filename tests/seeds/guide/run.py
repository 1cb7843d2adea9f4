"""What the guide says, done: ends with 0 where all of it holds."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from uuid import uuid4

import redis
import redis.asyncio

from tests.seeds.guide import app
from tests.seeds.record import said
from tests.support.waiting import wait_until

URL = os.environ["EVENTS_BROKER_URL"]


async def place(publisher: Any) -> app.Order:
    order = app.Order()
    await app.OrderService(app.OrderRepository(order), publisher).place_order(order.id)
    assert order.collect_events() == []
    return order


async def main() -> None:
    in_memory = app.InMemoryEventPublisher()
    order = await place(in_memory)
    (event,) = in_memory.events
    written = event.to_dict()
    assert list(written) == ["event_id", "event_type", "occurred_at", "payload"]
    assert written["payload"]["total"] == {"amount": "7.00", "currency": "USD"}

    await place(app.RedisEventPublisher(redis.asyncio.Redis.from_url(URL)))
    with redis.Redis.from_url(URL, decode_responses=True) as client:
        ((_, entry),) = client.xrange("domain-events")
    assert entry["event_type"] == "order.placed"
    assert json.loads(entry["payload"])["total"] == {"amount": "7.00", "currency": "USD"}

    order = await place(app.SystemEventPublisher(app.events))
    user = uuid4()
    await app.dispatcher.dispatch(app.UserCreated(user_id=user, email="a@example.com"))
    wait_until(lambda: len(said()) == 3, what="three handlers")
    assert sorted(said()) == [
        ["ship", str(order.id), "7.00"],
        ["track", "user_created", {"user_id": str(user)}],
        ["welcome", "a@example.com"],
    ]


if __name__ == "__main__":
    asyncio.run(main())
