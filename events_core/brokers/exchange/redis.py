"""Topic exchanges on Redis: kombu's bindings, one stream for each queue, one command for each queue of a batch.

The wire format is that of kombu over `redis-streams://`, so that consumers need not be ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import kombu

from events_core.brokers.base import IntegrationMessage, Receiver, Subscription
from events_core.brokers.exchange.kombu_payload import encoding_of
from events_core.brokers.exchange.redis_bindings import Bindings, Bound, bindings_in
from events_core.brokers.exchange.redis_receiver import StreamsReceiver
from events_core.errors import EmitError
from events_core.publishing.base import Deadline, unsent
from events_core.publishing.connect import redis_address
from events_core.publishing.redis_pipeline import RedisPipeline, connections
from events_core.transport import keys, payload, scripts

# KEYS: the stream of a queue that goes with its consumer. ARGV: the messages to add, if it is there. How many were.
_ADD_IF_THERE = f"if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end {scripts.ADD}"

#: Of each queue: whether it is lasting, and what goes there.
Routes = dict[str, tuple[bool, list[IntegrationMessage]]]


class RedisExchange:
    """See `Exchange`. connection: over `redis-streams://`; it is never opened itself."""

    def __init__(self, connection: kombu.Connection) -> None:
        url, options = redis_address(connection)
        self._connection = connection
        self._pipeline = RedisPipeline(connections(url, options))
        self._bindings = Bindings(self._pipeline, connection.transport_options.get("global_keyprefix", ""))

    def start(self) -> None:
        """See `Exchange`."""
        self._bindings.check()

    def publish(
        self, messages: Sequence[IntegrationMessage], deadline: Deadline, queue: str | None = None
    ) -> list[IntegrationMessage]:
        """See `Exchange`."""
        tables = {} if queue else self._read({message.topic for message in messages}, messages, deadline)
        routes: Routes = {queue: (True, [*messages])} if queue else _routes(messages, tables)
        if not routes:
            return [*messages]
        encoded = {id(message): _payload(message, queue) for message in messages}
        commands = [
            self._command(name, lasting, [encoded[id(message)] for message in batch])
            for name, (lasting, batch) in routes.items()
        ]
        carried = [[message.delivery for message in batch] for _, batch in routes.values()]
        try:
            replies = self._pipeline.publish(commands, carried, _left(deadline, messages))
        except EmitError as error:
            raise _of_messages(error, messages) from error.__cause__
        gone = {name for name, reply in zip(routes, replies, strict=True) if reply == 0}
        if gone:
            self._unbind(gone, tables)
        reached = {id(message) for name, (_, batch) in routes.items() if name not in gone for message in batch}
        return [message for message in messages if id(message) not in reached]

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]]) -> None:
        """See `Exchange`."""
        self._bindings.declare(subscription, obsolete)

    def delete(self, subscription: Subscription) -> None:
        """See `Exchange`."""
        self._bindings.delete(subscription)

    def receiver(self, subscription: Subscription, prefetch: int) -> Receiver:
        """See `Exchange`."""
        return StreamsReceiver(self._connection, self._bindings, subscription, prefetch)

    def close(self) -> None:
        """See `Exchange`."""
        self._pipeline.close()

    def _read(
        self, topics: Iterable[str], messages: Sequence[IntegrationMessage], deadline: Deadline
    ) -> dict[str, list[Bound]]:
        topics = [*topics]
        commands = self._bindings.reading(topics)
        try:
            replies = self._pipeline.publish(commands, [()] * len(commands), _left(deadline, messages))
        except EmitError as error:
            raise unsent(error.reason, messages) from error.__cause__
        return {topic: [*bindings_in(*replies[2 * at : 2 * at + 2])] for at, topic in enumerate(topics)}

    def _command(self, queue: str, lasting: bool, batch: Sequence[bytes]) -> tuple[Any, ...]:
        stream = self._bindings.stream(queue)
        if not lasting:
            return ("EVAL", _ADD_IF_THERE, 1, stream, *batch)
        if len(batch) == 1:
            return ("XADD", stream, "*", keys.FIELD, *batch)
        return ("EVAL", scripts.ADD, 1, stream, *batch)

    def _unbind(self, queues: set[str], tables: Mapping[str, Sequence[Bound]]) -> None:
        """Consumers' own queues that went with them: nothing would ever read what goes there."""
        commands: list[tuple[Any, ...]] = []
        for topic, table in tables.items():
            gone = [bound.member for bound in table if bound.queue in queues and not bound.lasting]
            commands += self._bindings.removal(topic, gone) if gone else []
        try:
            self._pipeline.publish(commands, [()] * len(commands), 1.0)
        except EmitError:
            pass  # the next one tries again


def _routes(messages: Sequence[IntegrationMessage], tables: Mapping[str, Sequence[Bound]]) -> Routes:
    routes: Routes = {}
    queues: dict[tuple[str, str], dict[str, bool]] = {}
    for message in messages:
        key = (message.topic, message.routing_key)
        if key not in queues:
            takes = [bound for bound in tables[message.topic] if bound.takes(message.routing_key)]
            # one lasting binding makes the queue a lasting one
            queues[key] = {bound.queue: bound.lasting for bound in sorted(takes, key=lambda bound: bound.lasting)}
        for queue, lasting in queues[key].items():
            routes.setdefault(queue, (lasting, []))[1].append(message)
    return routes


def _payload(message: IntegrationMessage, queue: str | None) -> bytes:
    properties = {
        "message_id": message.envelope.id,
        "type": message.envelope.type,
        "timestamp": int(message.occurred_at.timestamp()),
    }
    exchange, routing_key = ("", queue) if queue else (message.topic, message.routing_key)
    content = (message.content_type, encoding_of(message.content_type))
    return payload.encode(message.body, content, message.headers, properties, exchange, routing_key)


def _left(deadline: Deadline, messages: Sequence[IntegrationMessage]) -> float:
    try:
        return deadline.remaining()
    except TimeoutError as error:
        raise unsent(f"Redis: {error}", messages) from error


def _of_messages(error: EmitError, messages: Sequence[IntegrationMessage]) -> EmitError:
    """What became of each message, of whose copies (one for each queue) the error tells."""
    confirmed, uncertain, refused = {*error.confirmed}, {*error.uncertain}, {*error.unsent}
    whole = confirmed - uncertain - refused
    doubtful = (confirmed | uncertain) - whole
    deliveries = [message.delivery for message in messages]
    return EmitError(
        error.reason,
        confirmed=[delivery for delivery in deliveries if delivery in whole],
        uncertain=[delivery for delivery in deliveries if delivery in doubtful],
        unsent=[delivery for delivery in deliveries if delivery not in whole | doubtful],
    )
