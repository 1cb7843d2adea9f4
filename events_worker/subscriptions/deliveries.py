"""What becomes of one message: the deliveries of its event, or dead letters."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from events_core import EventSystem
from events_core.admission.gates import passage
from events_core.brokers import dead
from events_core.brokers.base import Received
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent
from events_core.handlers import HandlerSpec
from events_core.ids import delivery_id
from events_core.publishing.messages import Delivery, Message, delivery_body, task_headers
from events_core.publishing.stored import StoredMessage
from events_core.receiving import Refused
from events_worker.dead_letters import DeadLetter
from events_worker.dead_letters.raw import LONGEST_RAW
from events_worker.outcome import Dead
from events_worker.run import ONCE_HEADER
from events_worker.subscriptions.neighbours import Asked


def deliveries(
    system: EventSystem, specs: list[HandlerSpec], envelope: Envelope, event: IntegrationEvent
) -> Iterator[Message]:
    """The deliveries of an event to its subscribers. Their ids depend on the event and the handler alone."""
    for message in system.messages.messages(specs, event, envelope, envelope.to_json(), None):
        message.headers.update(_headers(envelope))
        yield message


def delivery_to_stranger(asked: Asked, envelope: Envelope) -> Message:
    """The delivery to a handler that only another worker knows. One that does not know it either holds it."""
    task_id = delivery_id(UUID(envelope.id), asked.handler)
    headers = {**task_headers(asked.handler), "id": task_id, "root_id": task_id, "parent_id": None}
    headers |= {"argsrepr": envelope.argsrepr, **_headers(envelope)}
    return Message(Delivery(asked.handler, task_id, asked.queue), headers, delivery_body(envelope.to_json()))


def gates(spec: HandlerSpec, event: IntegrationEvent) -> list[str] | None:
    """What a delivery waits for from the beginning: its order, where it has one."""
    if spec.ordered_by is None:
        return None
    try:
        return passage(spec, event).gates
    except BaseException:  # a key of the application's: the run fails of it too, and is retried and buried as any other
        return None


def letter_to(system: EventSystem, spec: HandlerSpec, envelope: Envelope, refused: Refused) -> DeadLetter:
    """The dead letter of a subscriber whose event cannot be read yet; a redrive reads it again."""
    task_id = delivery_id(UUID(envelope.id), spec.name)
    headers = {
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": envelope.argsrepr,
        **_headers(envelope),
    }
    body = delivery_body(envelope.to_json()).decode()
    message = StoredMessage(spec.name, system.messages.queue_of(spec), headers, body)
    return DeadLetter.of(task_id, message, _dead(refused), starts=0, first_at=time.time())


def raw_letter(queue: str, received: Received, refused: Refused) -> DeadLetter:
    """The dead letter of what is no event: its beginning, as it came, and its properties."""
    return DeadLetter.of(
        _id_of(queue, received),
        StoredMessage("", queue, {}, ""),
        _dead(refused),
        starts=0,
        first_at=time.time(),
        raw=base64.b64encode(received.body[:LONGEST_RAW]).decode("ascii"),
        received=_properties(received),
    )


def _properties(received: Received) -> dict[str, Any]:
    """Where it came from and what was said of it, so that it can be sent again as it was."""
    return {
        "topic": dead.word(received.topic),
        "routing_key": dead.word(received.routing_key),
        "content_type": dead.word(received.content_type),
        "message_id": dead.id_of(received),
        "type": dead.word(received.type),
        "timestamp": received.timestamp if dead.time_of(received) else None,
        "headers": dead.headers_of(received),
    }


def _headers(envelope: Envelope) -> dict[str, Any]:
    headers: dict[str, Any] = {ONCE_HEADER: uuid4().hex}
    if envelope.traceparent is not None:
        headers["traceparent"] = envelope.traceparent
    return headers


def _dead(refused: Refused) -> Dead:
    return Dead(refused.reason, refused.error, refused.error_type)


def _id_of(queue: str, received: Received) -> str:
    """The same for a message that comes again, where its sender has named it: one letter is kept of it."""
    if not received.message_id:
        return str(uuid4())
    body = hashlib.sha256(received.body).hexdigest()
    message_id = received.message_id.encode("utf-8", "replace").decode()  # a broker may let lone surrogates through
    return str(uuid5(NAMESPACE_OID, f"{queue} {message_id} {body}"))
