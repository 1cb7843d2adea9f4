"""What Celery would drop: unknown tasks, undecodable bodies, messages that are no task. For our queues only."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from events_core import EventSystem
from events_core.handler_options import GRANTED
from events_core.publishing.stored import StoredMessage
from events_core.system import systems
from events_worker.burial import undertaker
from events_worker.dead_letters import DeadLetter
from events_worker.dead_letters.raw import LONGEST_RAW
from events_worker.holding import hold_or_bury, unknown_handler
from events_worker.outcome import Dead
from events_worker.parts import parts_of
from events_worker.run import Run

logger = logging.getLogger(__name__)


class Intake(bootsteps.StartStopStep):
    """Puts our callbacks before Celery's on the consumer."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        app = consumer.app

        def ours(original: Callable[..., Any], take: Callable[[EventSystem, Any, Any], None]) -> Callable[..., Any]:
            def callback(*args: Any) -> Any:
                message, error = _message_and_error(args)
                system = _system_of(app, (message.delivery_info or {}).get("routing_key"))
                return original(*args) if system is None else take(system, _Received(consumer, message), error)

            return callback

        consumer.strategies = _Strategies(consumer.strategies)
        consumer.on_unknown_task = ours(consumer.on_unknown_task, _hold)
        consumer.on_unknown_message = ours(consumer.on_unknown_message, _bury_undecodable)
        consumer.on_invalid_task = ours(consumer.on_invalid_task, _bury_undecodable)
        consumer.on_decode_error = ours(consumer.on_decode_error, _bury_undecodable)


class _Strategies(dict[Any, Any]):
    """What to do by task name; a name that cannot be a key is unknown (Celery would end the worker)."""

    def __getitem__(self, name: Any) -> Any:
        try:
            return super().__getitem__(name)
        except TypeError as error:
            raise KeyError(name) from error


class _Received:
    """A message that is acknowledged from another thread."""

    def __init__(self, consumer: Any, message: Any) -> None:
        self._consumer = consumer
        self.message = message

    def acknowledge(self) -> None:
        self._consumer.call_soon(self.message.ack_log_error, logger, self._consumer.connection_errors)

    @property
    def queue(self) -> str:
        return str((self.message.delivery_info or {}).get("routing_key") or "")

    def body(self) -> bytes:
        body = self.message.body
        return body.encode() if isinstance(body, str) else bytes(body)


def _message_and_error(args: tuple[Any, ...]) -> tuple[Any, Any]:
    # on_decode_error(message, exc); on_unknown_message(body, message); the others (body, message, exc)
    if len(args) == 2 and isinstance(args[1], BaseException):
        return args[0], args[1]
    return args[1], args[2] if len(args) > 2 else None


def _system_of(app: Any, queue: str | None) -> EventSystem | None:
    for system in systems:
        if system.belongs_to(app) and queue is not None and queue.removesuffix(GRANTED) in system.queues():
            return system
    return None


def _hold(system: EventSystem, received: _Received, error: Any) -> None:
    """A task name that no handler here has: perhaps another worker knows it, or this one after its deploy."""
    headers = received.message.headers or {}
    name = headers.get("task")
    if not isinstance(name, str):
        _bury_undecodable(system, received, error)
        return
    try:
        UUID(task_id := headers["id"])
        payload = json.loads(received.body())[0][0]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as undecodable:
        _bury_undecodable(system, received, undecodable)
        return
    run = Run.of(task_id, name, received.queue, dict(headers), payload, redelivered=False)
    undertaker.submit(
        lambda: _settle_unknown(system, run),
        then=received.acknowledge,
        instead=lambda: _keep(system, _undecodable(received, None)),
    )


def _settle_unknown(system: EventSystem, run: Run) -> None:
    outcome = hold_or_bury(run, "unknown_handler", unknown_handler(run.task), system.settings.unknown_grace)
    run.starts -= 1
    parts = parts_of(system)
    parts.gatekeeper.turn_away(run, parts.settlement.settle(run, outcome))


def _bury_undecodable(system: EventSystem, received: _Received, error: Any) -> None:
    letter = _undecodable(received, error)

    def bury() -> None:
        _keep(system, letter)
        _drop(system, received)

    undertaker.submit(bury, then=received.acknowledge)


def _drop(system: EventSystem, received: _Received) -> None:
    headers = received.message.headers
    try:
        UUID(task_id := headers["id"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return  # no gate knows that
    name = headers.get("task")
    run = Run.of(task_id, str(name), received.queue, dict(headers), None, redelivered=False)
    parts_of(system).gatekeeper.drop(run)


def _undecodable(received: _Received, error: Any) -> DeadLetter:
    headers = received.message.headers if isinstance(received.message.headers, dict) else {}
    described = f"content type {received.message.content_type}" + (f", {type(error).__name__}" if error else "")
    return DeadLetter.of(
        str(uuid4()),
        StoredMessage(name if isinstance(name := headers.get("task"), str) else "", received.queue, {}, ""),
        Dead("undecodable", f"the message is no delivery ({described})", type(error).__name__ if error else ""),
        starts=0,
        first_at=time.time(),
        raw=base64.b64encode(received.body()[:LONGEST_RAW]).decode("ascii"),
    )


def _keep(system: EventSystem, letter: DeadLetter) -> None:
    parts = parts_of(system)
    parts.settlement.insist(lambda: parts.dead_letters.keep(letter))
    logger.error("a message on %s: %s: dead letter %s", letter.queue, letter.error, letter.id)
