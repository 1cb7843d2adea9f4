"""A kombu channel whose queues are Redis Streams."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from queue import Empty
from typing import Any

import redis
from kombu.transport import redis as stock
from kombu.utils.json import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.transport import keys
from events_core.transport.aside import Aside
from events_core.transport.delivering import TURN, deliver, message
from events_core.transport.errors import code_of
from events_core.transport.legacy import warn_of_lists
from events_core.transport.member import Member
from events_core.transport.members import address_of, member
from events_core.transport.qos import QoS
from events_core.transport.reading import Read, Reader

#: Messages that one read brings where the prefetch window has no bounds.
_UNBOUNDED = 250


class Channel(stock.Channel):
    """Overrides private methods of kombu 5.7.

    `basic_ack` may be called by any thread, beside the one that reads.

    Transport options besides kombu's: `claim_after`, seconds of silence after which a process counts as dead and what
    it held goes to others.
    """

    QoS = QoS
    claim_after = 10.0
    # Without them a network that swallows packets is never found out.
    socket_timeout = 5.0
    socket_connect_timeout = 5.0
    from_transport_options = (*stock.Channel.from_transport_options, "claim_after")

    def __init__(self, *args: Any, **options: Any) -> None:
        #: Messages that are ours and not delivered yet.
        self.buffer: deque[Read] = deque()
        #: The one that is being delivered.
        self.delivering: Read | None = None
        #: Messages that are ours and settled without being delivered.
        self.aside = Aside(self)
        self.reader = Reader(self)
        #: The queues whose messages are not acknowledged by who gets them.
        self.unacknowledged: set[str] = set()
        super().__init__(*args, **options)

    # Names and clients

    def _q_for_pri(self, queue: str, pri: int) -> str:
        return keys.stream_key(self.global_keyprefix, super()._q_for_pri(queue, pri))

    def streams_of(self, queue: str) -> list[str]:
        """The streams of a queue, the most urgent first."""
        return [self._q_for_pri(queue, step) for step in self.priority_steps]

    @cached_property
    def member(self) -> Member:
        """This process at this Redis."""
        address = (*address_of(self._connparams()), getattr(self, "master_name", None))
        return member(self._get_pool, address, self.global_keyprefix, float(self.claim_after))

    @property
    def plain(self) -> redis.Redis:
        """A client that sends keys as they are given: ours have their prefix."""
        return redis.Redis(connection_pool=self.pool)

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the channel is closed")
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        if asynchronous:  # Celery connects again by itself; the event loop must not wait meanwhile
            parameters["retry"] = Retry(NoBackoff(), 0)
        return parameters

    # Publishing

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        stream = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        command = ("XADD", stream, "*", keys.FIELD, dumps(message))
        expires = self._expires.get(queue)
        batch = options.pop("_publish_batch", None)
        if batch is not None:
            batch.add("execute_command", *command)
            if expires:
                batch.add("pexpire", stream.removeprefix(self.global_keyprefix), expires)
        elif expires:
            with self.plain.pipeline() as pipeline:
                pipeline.execute_command(*command)
                pipeline.pexpire(stream, expires)
                pipeline.execute()
        else:
            self.plain.execute_command(*command)

    # Queues

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except redis.ResponseError as error:  # who starts on a full Redis may be the one that drains it
            bound = (routing_key or "", pattern or "", queue) in self.get_table(exchange)
            if code_of(error) != "OOM" or (not bound and self.typeof(exchange).type != "fanout"):
                raise

    def _size(self, queue: str) -> int:
        return self.member.group.size(self.streams_of(queue))

    def _purge(self, queue: str) -> int:
        return sum(self.member.group.purge(stream) for stream in self.streams_of(queue))

    def _has_queue(self, queue: str, **options: Any) -> bool:
        return bool(self.plain.exists(*self.streams_of(queue)))

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **options: Any) -> None:
        """See kombu's, which deletes only queues that are bound to an exchange."""
        if if_empty and self._size(queue):
            return
        super().queue_delete(queue, if_unused=if_unused, **options)
        if queue not in self._fanout_queues:
            streams = self.streams_of(queue)
            self.plain.delete(*streams)
            self.member.forget(streams)

    def _delete_unused(self, queue: str) -> None:
        streams = self.streams_of(queue)
        if not self.member.consumes(streams) and self.member.group.delete_unused(streams, self.member.process):
            self.queue_delete(queue)  # its bindings too

    # Consuming

    @property
    def consuming(self) -> bool:
        """Whether it has delivered messages, or may."""
        return self._qos is not None

    def consumed(self) -> set[str]:
        """The streams that are consumed."""
        return {stream for queue in self.active_queues for stream in self.streams_of(queue)}

    def expiring(self) -> dict[str, int]:
        """The streams that are consumed and expire, with their lifetime in milliseconds."""
        lifetimes = {queue: found for queue in self.active_queues if (found := self._expires.get(queue))}
        return {stream: lifetime for queue, lifetime in lifetimes.items() for stream in self.streams_of(queue)}

    def has_room(self, *, patient: bool) -> bool:
        """Whether to read now. patient: rather in a few milliseconds, when acknowledgements have made more room."""
        sift = self.connection.sift
        if sift is not None and sift.room <= 0:
            return False
        room = self._room()
        if room * 2 >= self.qos.prefetch_count or not patient:
            return room > 0
        return room > 0 and not self.member.acknowledgements

    def _room(self) -> int:
        room: int | None = self.qos.can_consume_max_estimate()
        return (_UNBOUNDED if room is None else room) - len(self.buffer)

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **options: Any) -> Any:
        """See kombu's."""
        if no_ack:
            self.unacknowledged.add(queue)
        consuming = super().basic_consume(queue, no_ack, *args, **options)
        if queue not in self._fanout_queues:
            self.qos  # noqa: B018 - exists from now on
            self.member.watch(self.streams_of(queue))
            self.reader.look_again()
            if queue not in self.auto_delete_queues:
                lists = [super(Channel, self)._q_for_pri(queue, step) for step in self.priority_steps]
                warn_of_lists(self.plain, queue, [self.global_keyprefix + key for key in lists])
        return consuming

    def _basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super()._basic_cancel(consumer_tag)
        self.unacknowledged.discard(queue)
        if queue is None or queue in self._fanout_queues or self._lost:
            return
        if not self.active_queues:
            self.reader.abandon()
        if queue in self.auto_delete_queues and queue not in self.active_queues:
            self._delete_unused(queue)

    def _brpop_start(self, timeout: float | None = None) -> None:
        self.reader.start(self._room() + self.aside.ahead)

    def _brpop_read(self, **options: Any) -> bool:
        self.buffer.extend(self.reader.finish())
        if deliver(self, TURN if self.connection.cycle.in_loop else 0.0):
            return True
        raise Empty

    def buffered(self) -> list[str]:
        """The tags of messages that are ours and not delivered yet."""
        aside = self.aside.tags()
        buffer = self.buffer.copy()  # looked at second, too: what is delivered after all has come here before
        delivering = self.delivering  # looked at second: what leaves the buffer has become it before
        return [*aside, *(read[0] for read in (*buffer, *([delivering] if delivering else [])))]

    def flush_within(self, seconds: float) -> None:
        """See that acknowledgements are sent within so many seconds."""
        connection = self.connection
        if connection is not None:
            connection.cycle.flush_within(seconds)

    def _get(self, queue: str) -> dict[str, Any]:
        for read in self.reader.read_now(queue, 1):
            return message(self, read)
        raise Empty

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        """See kombu's."""
        found = super().basic_get(queue, no_ack=no_ack, **options)
        if found is not None and no_ack:
            self.qos.ack(found.delivery_tag)
        return found

    # The end

    @property
    def _lost(self) -> bool:
        return self.connection is None or self.connection.cycle.failed

    def _on_connection_disconnect(self, connection: Any) -> None:
        if self._in_poll is connection:
            self.reader.lost()
        super()._on_connection_disconnect(connection)

    def close(self) -> None:
        """See kombu's. What is not settled goes back; of a lost connection only what does not run here any more."""
        if not self.closed:
            self._closing = True
            lost = self._lost
            if not lost:
                for consumer in [*self._consumers]:
                    self.basic_cancel(consumer)
            name = self.reader.abandon()
            self.aside.close(lost=lost)
            self.buffer.clear()
            if self._qos is not None:
                self._qos.close(lost=lost)
                if name is not None and not lost:
                    self.member.release(name)
        super().close()
