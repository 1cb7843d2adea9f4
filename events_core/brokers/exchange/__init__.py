"""Topic exchanges on RabbitMQ, on Redis, and on whatever else kombu knows."""

from __future__ import annotations

from events_core.brokers.exchange.broker import ExchangeBroker

__all__ = ["ExchangeBroker"]
