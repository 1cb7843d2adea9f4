"""Message brokers by the names and parameters that diator and python-cqrs have for them."""

from __future__ import annotations

import redis
import redis.asyncio

from events_core.brokers import RedisPubSubBroker


class RedisMessageBroker(RedisPubSubBroker):
    """`RedisPubSubBroker`, which writes what diator's wrote, on the same channels.

    client: a `redis.asyncio.Redis` or `redis.Redis`; connections of our own are made like it.
    channel_prefix: what the channels begin with.
    """

    def __init__(
        self, client: redis.asyncio.Redis | redis.Redis, channel_prefix: str = "python_diator_channel"
    ) -> None:
        super().__init__(client, channel_prefix=channel_prefix)
