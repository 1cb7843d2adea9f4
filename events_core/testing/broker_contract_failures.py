"""The part of `broker_contract` that is about servers that end and processes that fork and die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

from events_core.brokers.base import Receiver
from events_core.errors import EmitError
from events_core.testing.broker_desk import PATIENCE, Desk, Opened, OwnServer, at_least_once, child, needs, needs_server


def _receive_on(receiver: Receiver) -> NoReturn:
    while True:
        receiver.acknowledge(receiver.receive(PATIENCE))


class FailureContract:
    """See `BrokerContract`, which has these tests too."""

    @pytest.fixture
    def own_desk(self, own_server: OwnServer) -> Iterator[Desk]:
        """What a test works with that stops the server."""
        own_server.start()
        desk = Desk(own_server)
        yield desk
        own_server.start()
        desk.close()

    @needs_server
    @at_least_once
    def test_what_a_killed_process_held_comes_again(self, desk: Desk) -> None:
        queue = desk.queue(Opened)
        desk.declare(queue)
        desk.publish(*(Opened(number=number) for number in range(3)))

        def consume() -> None:
            desk.take(desk.server.broker().receiver(queue), 3)

        with child(consume) as pid:
            os.kill(pid, signal.SIGKILL)
            again = desk.take(desk.receiver(queue), 3)
        assert desk.numbers(again) == [0, 1, 2]
        assert all(message.redelivered for message in again)

    @needs_server
    def test_a_forked_child_publishes_too(self, desk: Desk) -> None:
        """Over the broker that it inherited, while its parent goes on."""
        receiver = desk.listen(desk.queue(Opened))
        desk.publish(Opened(number=1))
        with child(lambda: desk.publish(Opened(number=2))):
            desk.publish(Opened(number=3))
            assert desk.numbers(desk.take(receiver, 3)) == [1, 2, 3]
        desk.publish(Opened(number=4))
        assert desk.numbers(desk.take(receiver, 1)) == [4]
        assert desk.empty(receiver) == []

    @needs_server
    def test_a_dead_server_is_told_of(self, own_desk: Desk, own_server: OwnServer) -> None:
        desk, queue = own_desk, own_desk.queue(Opened)
        receiver = desk.listen(queue)
        desk.publish(Opened(number=1))
        own_server.stop()
        messages = desk.messages(Opened(number=2), Opened(number=3))
        for broker in (desk.broker, desk.server.broker()):  # one that was connected, one that was not
            with pytest.raises(EmitError) as error:
                broker.publish(messages, 0.5)
            assert error.value.confirmed == []
            assert error.value.uncertain + error.value.unsent == [message.delivery for message in messages]
            with pytest.raises(OSError):
                broker.start()
        with pytest.raises(OSError):
            _receive_on(receiver)
        with pytest.raises(OSError):
            receiver.receive(0)

    @needs_server
    def test_all_go_on_after_a_restart(self, own_desk: Desk, own_server: OwnServer) -> None:
        desk = own_desk
        receiver = desk.listen(desk.queue(Opened))
        desk.publish(Opened(number=1))
        receiver.acknowledge(desk.take(receiver, 1))
        own_server.stop()
        own_server.start()
        while True:
            try:
                assert receiver.receive(0) == []
                break
            except OSError:
                pass
        desk.publish(Opened(number=2))
        assert desk.numbers(desk.take(receiver, 1, through_errors=True)) == [2]

    @needs_server
    @needs(lambda promises: promises.durable)
    def test_events_outlive_a_restart(self, own_desk: Desk, own_server: OwnServer) -> None:
        """Those that nobody has received, and those that were out and not acknowledged."""
        desk = own_desk
        held, waiting = desk.queue(Opened, name="held"), desk.queue(Opened, name="waiting")
        receiver = desk.listen(held, prefetch=2)
        desk.declare(waiting)
        desk.publish(*(Opened(number=number) for number in range(5)))
        messages = desk.take(receiver, 2)
        receiver.acknowledge(messages[:1])
        own_server.stop()
        own_server.start()
        found: set[int] = set()
        while len(found) < 4:
            messages = desk.take(receiver, 1, through_errors=True)
            found.update(desk.numbers(messages))
            receiver.acknowledge(messages)
        assert found - {0} == {1, 2, 3, 4}
        assert desk.numbers(desk.take(desk.receiver(waiting), 5)) == [0, 1, 2, 3, 4]
