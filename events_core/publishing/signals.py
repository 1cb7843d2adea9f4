"""Celery's publish signals: Sentry, Datadog and OpenTelemetry hang there. Free when nobody listens."""

from __future__ import annotations

import json
from collections.abc import Sequence

from celery import signals

from events_core.publishing.messages import Carried, Message


def before_publish(messages: Sequence[Carried]) -> None:
    """Send before_task_publish for each Celery message; receivers may add headers."""
    if not signals.before_task_publish.receivers:
        return
    for message in messages:
        if not isinstance(message, Message):
            continue
        signals.before_task_publish.send(
            sender=message.headers["task"],
            body=_decoded(message),
            exchange="",
            routing_key=message.delivery.queue,
            headers=message.headers,
            properties={"correlation_id": message.delivery.task_id, "reply_to": ""},
            declare=[],
            retry_policy=None,
        )


def after_publish(messages: Sequence[Carried]) -> None:
    """Send after_task_publish for each Celery message."""
    if not signals.after_task_publish.receivers:
        return
    for message in messages:
        if not isinstance(message, Message):
            continue
        signals.after_task_publish.send(
            sender=message.headers["task"],
            body=_decoded(message),
            exchange="",
            routing_key=message.delivery.queue,
            headers=message.headers,
        )


def _decoded(message: Message) -> tuple[object, ...]:
    return tuple(json.loads(message.body))
