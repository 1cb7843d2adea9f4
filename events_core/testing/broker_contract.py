"""What every message broker promises, as tests that any of them passes.

Subclass `BrokerContract` in a test module, say what your broker promises, and give it a server::

    class TestOurs(BrokerContract):
        promises = OurBroker.promises

        @pytest.fixture
        def server(self) -> BrokerServer: ...

        @pytest.fixture
        def own_server(self) -> OwnServer: ...      # the tests stop and start this one

Tests of what it does not promise are not there. One without a server sets ``has_server = False`` and needs no
`own_server`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from events_core.brokers.base import Promises
from events_core.testing.broker_contract_failures import FailureContract
from events_core.testing.broker_contract_receiving import ReceiverContract
from events_core.testing.broker_desk import (
    PATIENCE,
    BrokerServer,
    Closed,
    Desk,
    Moved,
    Opened,
    at_least_once,
    needs,
)


class BrokerContract(ReceiverContract, FailureContract):
    """The tests. Each needs the fixture `server` or `own_server`."""

    promises: ClassVar[Promises]
    has_server: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in dir(cls):
            test = getattr(cls, name)
            promised = getattr(test, "promised", None)
            if (promised and not promised(cls.promises)) or (hasattr(test, "about_servers") and not cls.has_server):
                setattr(cls, name, None)

    @pytest.fixture
    def desk(self, server: BrokerServer) -> Iterator[Desk]:
        """What a test works with."""
        desk = Desk(server)
        yield desk
        desk.close()

    def test_it_promises_what_is_tested(self, desk: Desk) -> None:
        assert desk.broker.promises == self.promises

    def test_an_event_arrives_whole(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened, Moved))
        events = [Opened(number=1, text="Zoë, 東京 🎈 \x00 \\ \" ' \r\n"), Moved(number=2)]
        for event in events:
            desk.publish(event)
        for event, message in zip(events, desk.take(receiver, 2), strict=True):
            envelope = desk.broker.format.decode(message)
            assert (envelope.id, envelope.type, envelope.kind) == (
                str(event.event_id),
                event.event_type,
                event.event_kind,
            )
            assert message.topic == desk.name
            assert type(event).model_validate_json(envelope.data).model_dump(exclude={"event_id", "occurred_at"}) == (
                event.model_dump(exclude={"event_id", "occurred_at"})
            )

    def test_a_large_event_arrives_whole(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened))
        desk.publish(Opened(number=1, text="ö" * 100_000), Opened(number=2))
        large, small = desk.take(receiver, 2)
        assert desk.numbers([large, small]) == [1, 2]
        assert len(large.body) > 200_000

    @needs(lambda promises: promises.ordered)
    def test_many_in_one_call_arrive_in_order(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened), prefetch=1000)
        desk.publish(*(Opened(number=number) for number in range(1000)))
        assert desk.numbers(desk.take(receiver, 1000)) == [*range(1000)]

    @needs(lambda promises: promises.ordered)
    def test_threads_publish_side_by_side(self, desk: Desk) -> None:
        """Each event arrives once, and those of one thread in order."""
        receiver = desk.listen(desk.queue(Opened), prefetch=200)

        def publish(first: int) -> None:
            for number in range(first, first + 20):
                desk.publish(Opened(number=number))

        threads = [threading.Thread(target=publish, args=(first,)) for first in range(0, 160, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        numbers = desk.numbers(desk.take(receiver, 160))
        assert sorted(numbers) == [*range(160)]
        assert all([n for n in numbers if n // 20 == t] == [*range(20 * t, 20 * t + 20)] for t in range(8))

    @at_least_once
    def test_it_waits_for_its_consumer(self, desk: Desk) -> None:
        """The queue exists from its declaration on, without a receiver, and also between two of them."""
        queue = desk.queue(Opened)
        desk.declare(queue)
        desk.publish(Opened(number=1))
        first = desk.receiver(queue)
        first.acknowledge(desk.take(first, 1))
        first.close()
        desk.publish(Opened(number=2))
        assert desk.numbers(desk.take(desk.receiver(queue), 1)) == [2]

    @needs(lambda promises: promises.delivery == "at most once")
    def test_what_nobody_listens_to_is_missed(self, desk: Desk) -> None:
        queue = desk.queue(Opened)
        desk.declare(queue)
        desk.publish(Opened(number=1))
        receiver = desk.listen(queue)
        desk.publish(Opened(number=2))
        assert desk.numbers(desk.take(receiver, 1)) == [2]

    def test_each_queue_gets_every_event(self, desk: Desk) -> None:
        receivers = [desk.listen(desk.queue(Opened, name=name)) for name in ("mail", "shipping")]
        desk.publish(*(Opened(number=number) for number in range(10)))
        for receiver in receivers:
            assert desk.numbers(desk.take(receiver, 10)) == [*range(10)]

    @needs(lambda promises: promises.shared)
    def test_consumers_of_one_queue_share_it(self, desk: Desk) -> None:
        queue = desk.queue(Opened)
        receivers = [desk.listen(queue, prefetch=5) for _ in range(2)]
        desk.publish(*(Opened(number=number) for number in range(100)))
        shares: list[list[int]] = [[], []]
        while sum(map(len, shares)) < 100:
            for receiver, share in zip(receivers, shares, strict=True):
                messages = receiver.receive(1)
                share += desk.numbers(messages)
                receiver.acknowledge(messages)
        assert sorted(shares[0] + shares[1]) == [*range(100)]
        assert all(shares)

    def test_consumers_of_their_own_hear_everything(self, desk: Desk) -> None:
        """Two instances of one application, each with a queue that goes with it."""
        receivers = [desk.listen(desk.queue(Opened, name=name, lasting=False)) for name in ("one", "two")]
        desk.publish(Opened(number=1), Opened(number=2))
        for receiver in receivers:
            messages = desk.take(receiver, 2)
            assert desk.numbers(messages) == [1, 2]
            receiver.acknowledge(messages)

    @needs(lambda promises: promises.routed)
    def test_a_queue_gets_the_types_that_it_is_bound_to(self, desk: Desk) -> None:
        some, other, all_ = (
            desk.listen(desk.queue(Opened, Moved, name="some")),
            desk.listen(desk.queue(Closed, name="other")),
            desk.listen(desk.queue(name="all")),
        )
        desk.publish(Opened(number=1), Closed(number=2), Moved(number=3), Closed(number=4), Opened(number=5))
        assert sorted(desk.numbers(desk.take(all_, 5))) == [1, 2, 3, 4, 5]
        assert sorted(desk.numbers(desk.take(some, 3))) == [1, 3, 5]
        assert sorted(desk.numbers(desk.take(other, 2))) == [2, 4]
        assert desk.empty(some) == desk.empty(other) == []

    def test_a_queue_may_be_bound_to_several_topics(self, desk: Desk) -> None:
        one, two = desk.queue(Opened, topic="-one"), desk.queue(Closed, topic="-two")
        receiver = desk.listen(type(one)(one.queue, one.bindings | two.bindings))
        desk.publish(Opened(number=1), topic="-one")
        desk.publish(Closed(number=2), topic="-two")
        messages = desk.take(receiver, 2)
        assert sorted(desk.numbers(messages)) == [1, 2]
        assert {message.topic for message in messages} == {f"{desk.name}-one", f"{desk.name}-two"}

    def test_declaring_again_changes_nothing(self, desk: Desk) -> None:
        queue = desk.queue(Opened, Closed)
        desk.declare(queue)
        receiver = desk.listen(queue)
        desk.publish(Opened(number=1))
        desk.declare(queue)
        desk.publish(Closed(number=2), Opened(number=3))
        assert desk.numbers(desk.take(receiver, 3)) == [1, 2, 3]
        assert desk.empty(receiver) == []

    @needs(lambda promises: promises.routed)
    def test_what_is_not_asked_for_any_more_is_unbound(self, desk: Desk) -> None:
        before, after = desk.queue(Opened, Closed), desk.queue(Opened)
        desk.declare(before)
        desk.declare(after, before.bindings - after.bindings)
        receiver = desk.listen(after)
        desk.publish(Closed(number=1), Opened(number=2))
        assert desk.numbers(desk.take(receiver, 1)) == [2]
        assert desk.empty(receiver) == []

    @at_least_once
    def test_a_deleted_queue_is_gone(self, desk: Desk) -> None:
        queue = desk.queue(Opened)
        desk.declare(queue)
        desk.publish(Opened(number=1))
        desk.broker.delete(queue)
        desk.publish(Opened(number=2))
        receiver = desk.listen(queue)
        desk.publish(Opened(number=3))
        assert desk.numbers(desk.take(receiver, 1)) == [3]

    @needs(lambda promises: promises.tells_unroutable)
    def test_an_event_that_nobody_is_bound_to_is_told_of(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        desk.listen(desk.queue(Opened))
        with caplog.at_level(logging.WARNING):
            desk.publish(Opened(number=1, text="secret"), Moved(number=2))
        assert Moved.event_type in caplog.text
        assert Opened.event_type not in caplog.text
        assert "secret" not in caplog.text

    def test_a_closed_broker_can_be_used_again(self, desk: Desk) -> None:
        receiver = desk.listen(desk.queue(Opened))
        desk.publish(Opened(number=1))
        desk.broker.close()
        desk.broker.close()
        desk.broker.start()
        desk.publish(Opened(number=2))
        assert desk.numbers(desk.take(receiver, 2)) == [1, 2]
