"""Deliveries that wait for their turn from the beginning, and the publishing of those whose turn it is."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import redis

from events_core.admission.client import Admission, Grant
from events_core.coordination import Coordination
from events_core.errors import EmitError
from events_core.handler_options import GRANTED
from events_core.publishing.messages import Delivery, Message
from events_core.publishing.redis import encode
from events_core.publishing.stored import StoredMessage
from events_core.transport import keys

logger = logging.getLogger(__name__)

#: The token of the grant that a message is.
GRANT_HEADER = "events-grant"
#: As an encoded message has it. Nowhere before it: its body is base64, and strings in JSON have no bare quotes.
_MARK = f'"{GRANT_HEADER}":0'
#: Messages, and bytes, that one script takes: it must not keep Redis from others, nor its caller from an answer.
_MANY, _LARGE = 500, 1_000_000


#: What was granted, and its message.
Granted = tuple[Grant, Message]


class Publish(Protocol):
    """Hands messages to the broker, confirmed."""

    def __call__(self, messages: Sequence[Message], timeout: float) -> None: ...


class Turns:
    """Lets deliveries wait for their turn, and publishes what may run now.

    coordination: called on first use. timeout: seconds for one publishing.
    """

    def __init__(self, coordination: Callable[[], Coordination], publish: Publish, timeout: float) -> None:
        self._coordination = coordination
        self._publish = publish
        self._timeout = timeout
        self._admission: Admission | None = None
        #: Given what was granted: what of it this process does not run itself.
        self.left_by_us: Callable[[list[Granted]], list[Granted]] = lambda granted: granted

    @property
    def admission(self) -> Admission:
        """The scripts of the coordination Redis."""
        if self._admission is None:
            self._admission = Admission(self._coordination(), self.hand_on)
        return self._admission

    def close(self) -> None:
        """Close the connections; it can be used again."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.close()

    def enter(self, messages: Sequence[Message], group: str | None = None) -> None:
        """Keep messages with gates until it is their turn. Raises EmitError where Redis does not answer."""
        start = 0
        while start < len(messages):
            chunk = messages[start : start + how_many(messages, start)]
            try:
                self.admission.call_many([self._enter(message, group) for message in chunk])
            except redis.RedisError as error:
                raise EmitError(
                    f"the coordination Redis did not answer: {error}",
                    confirmed=[message.delivery for message in messages[:start]],
                    uncertain=[message.delivery for message in chunk],
                    unsent=[message.delivery for message in messages[start + len(chunk) :]],
                ) from error
            start += len(chunk)

    def stored(self, message: StoredMessage) -> str:
        """What is kept of a delivery that waits: its message.

        Where the broker's streams are in the same Redis, the script that grants it adds it to one: it is kept as
        ``stream LF first part LF second part``, and the token comes between the parts.
        """
        streams = self.admission.coordination.streams
        if streams is None:
            return message.to_json()
        granted = _granted(message, 0)
        stream = keys.stream_key(streams, granted.delivery.queue)
        first, mark, second = encode(granted).decode().partition(_MARK)
        return f"{stream}\n{first}{mark[:-1]}\n{second}"

    def hand_on(self, grants: Sequence[Grant]) -> None:
        """Run or publish what was granted. What cannot be published is granted again by whoever sweeps next."""
        left = self.left_by_us([(grant, _published(grant)) for grant in grants])
        unsent: set[Delivery] = set()
        if not left:
            return
        try:
            self._publish([message for _, message in left], self._timeout)
        except EmitError as error:
            unsent = {message.delivery for _, message in left} - set(error.confirmed)
            logger.warning("%d deliveries whose turn it is wait: %s", len(unsent), error)
        sent = [(grant.member, grant.token) for grant, message in left if message.delivery not in unsent]
        if sent:
            self.admission.later(["sent", sent])

    def _enter(self, message: Message, group: str | None) -> list[object]:
        stored = StoredMessage(message.delivery.handler, message.delivery.queue, message.headers, message.body.decode())
        return ["enter", message.delivery.task_id, 1, message.gates, self.stored(stored), group or False]


def how_many(messages: Sequence[Message], start: int = 0) -> int:
    """How many messages, from one on, may go into one script; at least that one."""
    size = 0
    for number, message in enumerate(messages[start : start + _MANY]):
        size += len(message.body)
        if number and size > _LARGE:
            return number
    return min(len(messages) - start, _MANY)


def _published(grant: Grant) -> Message:
    _, *parts = grant.message.split("\n")
    if not parts:
        return _granted(StoredMessage.from_json(grant.message), grant.token)
    stored = json.loads(str(grant.token).join(parts))  # parked when the broker's streams were here
    queue = stored["properties"]["delivery_info"]["routing_key"]
    headers = stored["headers"]
    return Message(Delivery(headers["task"], headers["id"], queue), headers, base64.b64decode(stored["body"]))


def _granted(stored: StoredMessage, token: int) -> Message:
    queue = stored.queue if stored.queue.endswith(GRANTED) else stored.queue + GRANTED
    return StoredMessage(stored.task, queue, {**stored.headers, GRANT_HEADER: token}, stored.body).message()
