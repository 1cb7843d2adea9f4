"""The part of `broker_contract` that is about receivers and what they do with messages."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from events_core.errors import InvalidEnvelope
from events_core.testing.broker_desk import PATIENCE, Desk, Opened, at_least_once


class ReceiverContract:
    """See `BrokerContract`, which has these tests too."""

    @at_least_once
    def test_what_is_acknowledged_does_not_come_again(self, desk: Desk) -> None:
        queue = desk.queue(Opened)
        receiver = desk.listen(queue)
        desk.publish(*(Opened(number=number) for number in range(4)))
        messages = desk.take(receiver, 4)
        receiver.acknowledge([messages[0], messages[2]])
        receiver.close()
        again = desk.take(desk.receiver(queue), 2)
        assert desk.numbers(again) == [1, 3]
        assert all(message.redelivered for message in again)

    def test_what_is_given_back_comes_again(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened), prefetch=4)
        desk.publish(*(Opened(number=number) for number in range(6)))
        messages = desk.take(receiver, 4)
        receiver.acknowledge([messages[0]])
        receiver.give_back(messages[1:])
        found: dict[int, bool] = {}
        while len(found) < 5:
            messages = desk.take(receiver, 1)
            receiver.acknowledge(messages)
            found |= {number: m.redelivered for number, m in zip(desk.numbers(messages), messages, strict=True)}
        assert sorted(found) == [1, 2, 3, 4, 5]
        assert all(found[number] for number in (1, 2, 3))

    def test_never_more_than_its_prefetch_is_out(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened), prefetch=3)
        desk.publish(*(Opened(number=number) for number in range(7)))
        seen: list[int] = []
        for share in (3, 3, 1):
            messages = desk.take(receiver, share)
            assert len(messages) == share
            assert desk.empty(receiver) == []
            seen += desk.numbers(messages)
            receiver.acknowledge(messages)
        assert seen == [*range(7)]

    def test_waking_a_receiver_ends_its_wait(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened))
        found: list[list[Any]] = []
        thread = threading.Thread(target=lambda: found.append(receiver.receive(10 * PATIENCE)), daemon=True)
        thread.start()
        receiver.wake()
        thread.join(PATIENCE)
        assert found == [[]]
        desk.publish(Opened(number=1))
        assert desk.numbers(desk.take(receiver, 1)) == [1]

    def test_garbage_does_not_stop_a_receiver(self, desk: Desk) -> None:
        """It arrives, since its reader accounts for it, and what is behind it arrives too."""
        receiver = desk.listen(desk.queue(Opened))
        key = f"{Opened.event_kind}.{Opened.event_type}"
        garbage = [b"\xff\xfe\x00", b"", b"[1, 2", b'{"a": {"a": {}}}', b"\x80" * 10_000]
        for body in garbage:
            desk.server.put(desk.name, key, body)
        desk.publish(Opened(number=1))
        messages = desk.take(receiver, len(garbage) + 1)
        for message in messages[:-1]:
            with pytest.raises(InvalidEnvelope):
                desk.broker.format.decode(message)
        assert desk.numbers(messages[-1:]) == [1]
        receiver.acknowledge(messages)
        assert desk.empty(receiver) == []

    def test_a_receiver_may_be_closed_twice(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened))
        receiver.close()
        receiver.close()
        receiver.wake()
