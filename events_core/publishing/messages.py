"""Celery messages (protocol 2) for deliveries: the body once per event, the headers once per handler.

Format: https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol

from kombu.utils import json

from events_core.envelope import FORMAT_VERSION, Envelope
from events_core.errors import BindError
from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_core.ids import delivery_id
from events_core.scope import HandlingScope

_EMBED = b'{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'
#: Characters kept of the event types that led to a delivery; the latest count.
_LONGEST_CHAIN = 300


class Delivery(NamedTuple):
    """One event for one handler, as emit reports it."""

    handler: str
    task_id: str
    queue: str


class Carried(Protocol):
    """What emit hands on: a Celery message, or an integration event for a message broker."""

    @property
    def delivery(self) -> Delivery:
        """How EmitError names it."""
        ...


@dataclass(slots=True)
class Message:
    """One Celery message: where it goes, its headers and its encoded body.

    gates: of a delivery that waits for its turn from the beginning, instead of going to the broker at once.
    """

    delivery: Delivery
    headers: dict[str, Any]
    body: bytes = field(repr=False)
    gates: list[str] | None = None


class MessageBuilder:
    """Builds the messages of one system: the body once per event, the fixed headers once per handler."""

    def __init__(self, default_queue: str) -> None:
        self._default_queue = default_queue
        self._fixed: dict[str, tuple[dict[str, Any], str]] = {}
        self._pid = 0

    def queue_of(self, spec: HandlerSpec) -> str:
        """The queue that deliveries to this handler go to."""
        if spec.queue is not None:
            return spec.queue
        if spec.kind == "task":
            return _queue_of_task(spec.target)
        return self._default_queue

    def messages(
        self,
        specs: Sequence[HandlerSpec],
        event: Event,
        envelope: Envelope,
        encoded: bytes,
        scope: HandlingScope | None,
    ) -> list[Message]:
        """The first message of each delivery of one event. `encoded` is the envelope's wire form."""
        body = delivery_body(encoded)
        argsrepr = envelope.argsrepr
        parent_id = None if scope is None else scope.delivery_id
        messages = []
        for spec in specs:
            fixed, queue = self._fixed_of(spec)
            task_id = delivery_id(event.event_id, spec.name)
            headers = {
                **fixed,
                "id": task_id,
                "root_id": task_id if scope is None else scope.root_id,
                "parent_id": parent_id,
                "argsrepr": argsrepr,
            }
            if scope is not None:
                headers["events-chain"] = f"{scope.chain} > {event.event_type}"[-_LONGEST_CHAIN:]
                if scope.traceparent is not None:
                    headers["traceparent"] = scope.traceparent
            own_body = body if spec.kind != "task" else _task_body(spec, event)
            messages.append(Message(Delivery(spec.name, task_id, queue), headers, own_body))
        return messages

    def _fixed_of(self, spec: HandlerSpec) -> tuple[dict[str, Any], str]:
        if self._pid != os.getpid():  # a forked child is an origin of its own
            self._fixed = {}
            self._pid = os.getpid()
        try:
            return self._fixed[spec.name]
        except KeyError:
            fixed = self._fixed[spec.name] = (task_headers(spec.name), self.queue_of(spec))
            return fixed


def _queue_of_task(task: Any) -> str:
    """Where Celery itself would send the task: its own queue, else what the app's routes say, else the default."""
    queue = getattr(task, "queue", None)
    if queue is None:
        queue = task.app.amqp.router.route({}, task.name).get("queue")
    if queue is None:
        raise BindError(f"{task.name}: task_routes names no queue for it; name it with queue= where the task is bound")
    return str(getattr(queue, "name", queue))


#: Asked once: each time would be a system call, at which a busy process loses the interpreter's lock.
_host = cache(socket.gethostname)


def task_headers(task: str) -> dict[str, Any]:
    """The headers that are the same for all first deliveries to one task.

    Of the protocol's optional headers those that would be empty are left out: each costs both sides.
    """
    return {
        "lang": "py",
        "task": task,
        "group": None,
        "retries": 0,
        "kwargsrepr": "{}",
        "origin": f"{os.getpid()}@{_host()}",
        "ignore_result": True,
        "events-v": FORMAT_VERSION,
        "events-attempt": 1,
        "events-generation": 0,
    }


def delivery_body(envelope: bytes) -> bytes:
    """The message body of a delivery: ``[[envelope], {}, embed]``."""
    return b"[[" + envelope + b"],{}," + _EMBED + b"]"


def _task_body(spec: HandlerSpec, event: Event) -> bytes:
    """The body for a Celery task that exists already, called with what `args` makes of the event."""
    arguments = spec.args(event) if spec.args is not None else ()
    if not isinstance(arguments, list | tuple):
        raise BindError(f"{spec.name}: args= must return a tuple of arguments, such as (event.order_id,)")
    encoded: str = json.dumps(list(arguments))
    return b"[" + encoded.encode() + b",{}," + _EMBED + b"]"
