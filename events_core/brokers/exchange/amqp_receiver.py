"""Receiving from a queue of RabbitMQ."""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NoReturn

import kombu

from events_core.brokers.base import Received, Subscription
from events_core.brokers.bell import Bell
from events_core.brokers.exchange.amqp_deliveries import handler_of_deliveries
from events_core.brokers.exchange.amqp_topology import Topology
from events_core.publishing.amqp_connection import ERRORS, open_connection
from events_core.publishing.cork import corked

#: py-amqp stumbles now and then over what a lost connection leaves of it.
_LOST = (*ERRORS, AttributeError, ValueError)
#: Seconds that connecting, declaring and sending may wait for RabbitMQ.
_PATIENCE = 5.0
#: Seconds that closing in order may take.
_GOODBYE = 2.0
#: Seconds between two heartbeats, where the URL does not say otherwise. Two that are missing end the connection.
_HEARTBEAT = 30
#: Seconds between two looks at whether one is due.
_TICK = 1.0


class AMQPReceiver:
    """See `Receiver`. Has to be called at least once in the heartbeat's time (30 s): RabbitMQ else thinks it dead.

    connection: where RabbitMQ is; it is never opened itself.
    """

    def __init__(
        self, connection: kombu.Connection, topology: Topology, subscription: Subscription, prefetch: int
    ) -> None:
        self._template = connection
        self._topology = topology
        self._subscription = subscription
        self._prefetch = prefetch
        self._bell = Bell()
        self._numbers = itertools.count(1)
        self._link: _Link | None = None

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`. Raises ConfigurationError where the queue cannot be had as it is asked for."""
        until = monotonic() + timeout
        with self._losing():
            if self._link is None:
                self._link = self._connect()
            link = self._link
            while True:
                link.read()
                left = until - monotonic()
                if self._bell.silence() or link.messages or left <= 0:
                    return link.take()
                link.wait(self._bell, min(left, _TICK))

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """See `Receiver.acknowledge`. Messages of a lost connection come again, acknowledged or not."""
        with self._losing():
            if self._link is not None:
                self._link.acknowledge(messages)

    def give_back(self, messages: Sequence[Received]) -> None:
        """See `Receiver.give_back`."""
        with self._losing():
            if self._link is not None:
                self._link.give_back(messages)

    def wake(self) -> None:
        """See `Receiver.wake`."""
        self._bell.ring()

    def close(self) -> None:
        """See `Receiver.close`."""
        link, self._link = self._link, None
        if link is not None:
            link.close(None if self._subscription.lasting else self._subscription.queue)
        self._bell.close()

    def _connect(self) -> _Link:
        link = _Link(next(self._numbers))
        heartbeat = int(self._template.heartbeat or _HEARTBEAT)
        connection = open_connection(
            self._template, _PATIENCE, heartbeat=heartbeat, frame_handler=handler_of_deliveries(link.delivered)
        )
        link.connection = connection
        try:
            link.channel = connection.channel()
            self._topology.bind(link.channel, self._subscription)
            link.channel.basic_qos(0, self._prefetch, False)
            link.channel.basic_consume(self._subscription.queue)
        except BaseException:
            connection.collect()
            raise
        return link

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """What the connection raises ends it, and is raised as an OSError."""
        try:
            yield
        except _LOST as error:
            self._lose(error)

    def _lose(self, error: BaseException) -> NoReturn:
        link, self._link = self._link, None
        if link is not None:
            link.connection.collect()
        raise ConnectionError(f"queue {self._subscription.queue}: RabbitMQ is lost: {error}") from error


class _Link:
    """One connection with one consuming channel, and what came by it and is not settled."""

    connection: Any
    channel: Any

    def __init__(self, number: int) -> None:
        self._number = number
        self.messages: list[Received] = []
        self._open: dict[int, None] = {}  # delivery tags, in order
        self._ticked = 0.0

    def delivered(self, tag: int, message: Received) -> None:
        message.tag = (self._number, tag)
        self._open[tag] = None
        self.messages.append(message)

    def take(self) -> list[Received]:
        messages, self.messages = self.messages, []
        return messages

    def read(self) -> None:
        """Read all that is there."""
        now = monotonic()
        if now - self._ticked >= _TICK:
            self._ticked = now
            self.connection.heartbeat_tick()
        try:
            while True:
                self.connection.blocking_read(0)
        except TimeoutError:
            pass

    def wait(self, bell: Bell, seconds: float) -> None:
        poll = select.poll()  # select() refuses descriptors from 1024 on
        poll.register(self.connection.sock, select.POLLIN)
        poll.register(bell.fileno(), select.POLLIN)
        poll.poll(seconds * 1000)

    def acknowledge(self, messages: Sequence[Received]) -> None:
        tags = self._settle(messages)
        channel = self.channel
        upto = 0
        for tag in self._open:  # all from the first unsettled one on, as far as they go, are one acknowledgement
            if tag not in tags:
                break
            upto = tag
        with corked(self.connection.sock):
            if upto:
                channel.basic_ack(upto, multiple=True)
            for tag in sorted(tag for tag in tags if tag > upto):
                channel.basic_ack(tag)
        for tag in tags:
            del self._open[tag]

    def give_back(self, messages: Sequence[Received]) -> None:
        tags = self._settle(messages)
        with corked(self.connection.sock):
            for tag in sorted(tags):
                self.channel.basic_reject(tag, requeue=True)
        for tag in tags:
            del self._open[tag]

    def _settle(self, messages: Sequence[Received]) -> set[int]:
        """The tags of those that came by this connection and are not settled."""
        number, opened = self._number, self._open
        return {tag for of, tag in (message.tag for message in messages) if of == number and tag in opened}

    def close(self, own_queue: str | None) -> None:
        connection = self.connection
        try:
            connection.sock.settimeout(_GOODBYE)
            if own_queue is not None:
                self.channel.queue_delete(own_queue)
            connection.close()  # in order: an acknowledgement just sent could be lost with a socket that only ends
        except Exception:
            pass  # it is lost anyway, and RabbitMQ takes back what is not acknowledged
        finally:
            connection.collect()
