"""Events by Redis Pub/Sub: who listens at that moment hears them."""

from __future__ import annotations

from events_core.brokers.redis_pubsub.broker import RedisPubSubBroker

__all__ = ["RedisPubSubBroker"]
