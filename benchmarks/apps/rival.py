"""The work as actors of dramatiq. On RabbitMQ it needs the package pika."""

from __future__ import annotations

import importlib.util
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.apps import work
from benchmarks.apps.marks import mark

QUEUE = "rival"

Actors = dict[str, dramatiq.Actor[[Any], None]]


def missing(broker_url: str) -> str | None:
    """Why dramatiq cannot run on that broker; None if it can."""
    if broker_url.startswith("amqp") and importlib.util.find_spec("pika") is None:
        return "dramatiq on RabbitMQ was left out: it needs the package pika"
    return None


def make(broker_url: str, *, confirmed: bool = True) -> tuple[dramatiq.Broker, Actors]:
    """A broker and its actors. confirmed: on RabbitMQ, wait for the confirmation of each message."""
    broker: dramatiq.Broker
    if broker_url.startswith("amqp"):
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        broker = RabbitmqBroker(url=broker_url, confirm_delivery=confirmed)
    else:
        broker = RedisBroker(url=broker_url)  # type: ignore[no-untyped-call]
    # a decorator of its own for each: dramatiq's keeps the first name it was used with
    return broker, {
        "tick": dramatiq.actor(broker=broker, queue_name=QUEUE)(tick),
        "noop": dramatiq.actor(broker=broker, queue_name=QUEUE)(noop),
        "short": dramatiq.actor(broker=broker, queue_name=QUEUE)(short),
        "gate": dramatiq.actor(broker=broker, queue_name=QUEUE)(gate),
    }


def tick(number: int) -> None:
    mark()


def noop(envelope: dict[str, Any]) -> None:
    mark()


def short(envelope: dict[str, Any]) -> None:
    work.short()


def gate(envelope: dict[str, Any]) -> None:
    work.gate(envelope["data"]["gate"])
