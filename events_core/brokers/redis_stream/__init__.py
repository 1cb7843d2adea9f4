"""Events in Redis streams: kept for everyone, and read by consumer groups."""

from __future__ import annotations

from events_core.brokers.redis_stream.broker import RedisStreamBroker

__all__ = ["RedisStreamBroker"]
