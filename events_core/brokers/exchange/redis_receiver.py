"""Receiving from a queue on Redis Streams, by the channel of our transport."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from time import monotonic
from typing import Any, NoReturn

import kombu
from kombu.utils.eventio import READ

from events_core.brokers.base import Received, Subscription
from events_core.brokers.bell import Bell
from events_core.brokers.exchange.kombu_payload import received
from events_core.brokers.exchange.redis_bindings import OWN_QUEUE_EXPIRES, Bindings
from events_core.transport.channel import Channel
from events_core.transport.delivering import deliver
from events_core.transport.errors import FAILED
from events_core.transport.member import Member
from events_core.transport.qos import QoS

#: Seconds between two looks at whether Redis still answers.
_TICK = 1.0
#: Seconds without an answer, beyond those that a read waits, after which the connection is given up.
_HEALTH_CHECK = 5
#: Seconds that handing over what was read may take, which it never does.
_TURN = 1.0
#: Seconds between two looks at the bindings: a Redis may come to be empty, and a publisher who finds a consumer's own
#: queue expired unbinds it.
_DECLARE_AGAIN = 10.0


class StreamsReceiver:
    """See `Receiver`. What it holds stays its own however seldom it is called, as long as the process lives.

    connection: where the Redis is, over `redis-streams://`; it is never opened itself.
    """

    def __init__(
        self, connection: kombu.Connection, bindings: Bindings, subscription: Subscription, prefetch: int
    ) -> None:
        self._template = connection
        self._bindings = bindings
        self._subscription = subscription
        self._prefetch = prefetch
        self._bell = Bell()
        self._link: _Link | None = None
        self._member: Member | None = None

    def receive(self, timeout: float) -> list[Received]:
        """See `Receiver.receive`."""
        until = monotonic() + timeout
        with self._losing():
            link = self._link = self._link or self._connect()
            while True:
                self._stay_bound(link)
                link.deliver()
                left = until - monotonic()
                if self._bell.silence() or link.messages or left <= 0:
                    return link.take()
                link.wait(self._bell, min(left, _TICK))

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """See `Receiver.acknowledge`. Those of a lost connection too: Redis knows them by their place."""
        if self._member is None:
            return
        with self._losing():
            for message in messages:
                self._member.acknowledgements.add(message.tag.delivery_tag)
                message.tag.settled()
            self._member.acknowledgements.flush()

    def give_back(self, messages: Sequence[Received]) -> None:
        """See `Receiver.give_back`."""
        if self._member is None:
            return
        with self._losing():
            self._member.give_back([message.tag.delivery_tag for message in messages])
            for message in messages:
                message.tag.settled()

    def wake(self) -> None:
        """See `Receiver.wake`."""
        self._bell.ring()

    def close(self) -> None:
        """See `Receiver.close`."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
            if not self._subscription.lasting:
                try:
                    self._bindings.delete(self._subscription)
                except OSError:
                    pass  # it expires
        self._bell.close()

    def _connect(self) -> _Link:
        self._bindings.add(self._subscription)
        link = _Link(self._template, self._subscription, self._prefetch)
        self._member = link.member
        return link

    def _stay_bound(self, link: _Link) -> None:
        if monotonic() - link.declared > _DECLARE_AGAIN:
            link.declared = monotonic()
            if not self._subscription.lasting or self._bindings.are_lost(self._subscription):
                self._bindings.add(self._subscription)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except FAILED as error:
            self._lose(error)

    def _lose(self, error: Exception) -> NoReturn:
        link, self._link = self._link, None
        if link is not None:
            link.lost()
        raise ConnectionError(f"queue {self._subscription.queue}: Redis is lost: {error}") from error


class _Link:
    """One channel of our transport, without an event loop."""

    def __init__(self, template: kombu.Connection, subscription: Subscription, prefetch: int) -> None:
        connection = template.clone()
        connection.transport_options = {"health_check_interval": _HEALTH_CHECK, **connection.transport_options}
        self._transport: Any = connection.transport
        self._transport.establish_connection()
        self.declared = monotonic()
        self.messages: list[Received] = []
        channel: Channel = self._transport.create_channel(self._transport)
        self._channel = channel
        channel.Message = _Incoming
        if not subscription.lasting:
            channel.queue_declare(subscription.queue, arguments={"x-expires": OWN_QUEUE_EXPIRES})
        channel.basic_qos(0, prefetch, False)
        channel.basic_consume(subscription.queue, callback=self._delivered, consumer_tag=subscription.queue)

    @property
    def member(self) -> Member:
        return self._channel.member

    def _delivered(self, incoming: _Incoming) -> None:
        self.messages.append(incoming.hand_over())

    def take(self) -> list[Received]:
        messages, self.messages = self.messages, []
        return messages

    def deliver(self) -> None:
        """Ask for what there is room for, and take what has come."""
        self._transport.cycle.on_poll_start()
        deliver(self._channel, _TURN)

    def wait(self, bell: Bell, seconds: float) -> None:
        cycle = self._transport.cycle
        cycle.poller.register(bell.fileno(), READ)
        events = cycle.poller.poll(seconds)
        for descriptor, event in events or ():
            if descriptor == bell.fileno():
                continue
            try:
                cycle.handle_event(descriptor, event)
            except Empty:
                pass
        if not events:
            cycle.maybe_check_brpop_health()

    def lost(self) -> None:
        self._transport.cycle.failed = True  # what is still in hand stays ours until it is settled or dropped
        self.close()

    def close(self) -> None:
        try:
            self._transport.close_connection(self._transport)
        except Exception:
            pass  # what this process holds is free once it does not say any more that it lives


class _Incoming:
    """A message as a channel's record needs it. While somebody has it, our process holds the message."""

    __slots__ = ("__weakref__", "_qos", "_received", "delivery_tag", "headers")

    def __init__(self, payload: dict[str, Any], channel: Channel) -> None:
        self.delivery_tag: str = payload["properties"]["delivery_tag"]
        self.headers: dict[str, Any] = payload["headers"]
        self._qos: QoS = channel.qos
        self._received: Received | None = received(payload, channel.decode_body)

    def hand_over(self) -> Received:
        """The message, which holds this from now on, instead of being held by it."""
        message, self._received = self._received, None
        assert message is not None
        message.tag = self
        return message

    def settled(self) -> None:
        """It was acknowledged or given back: of a connection that is lost, too."""
        self._qos.settle(self.delivery_tag)
