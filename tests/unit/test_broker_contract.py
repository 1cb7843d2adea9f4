"""The contract of message brokers finds what it is for: each of these brokers breaks one promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from events_core.brokers import InMemoryBroker, Promises, Received, Subscription
from events_core.brokers.memory import InMemoryReceiver
from events_core.testing import broker_contract, broker_contract_receiving, broker_desk
from events_core.testing.broker_contract import BrokerContract
from events_core.testing.broker_desk import Desk


class Server:
    """A server with this one broker."""

    def __init__(self, broker: InMemoryBroker) -> None:
        self._broker = broker

    def broker(self) -> InMemoryBroker:
        return self._broker

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        self._broker.put(topic, body, routing_key)


class Forgetful(InMemoryBroker):
    """Keeps nothing while no consumer is there."""

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        pass

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> InMemoryReceiver:
        super().declare(subscription)
        return super().receiver(subscription, prefetch)


class Indiscriminate(InMemoryBroker):
    """Gives every queue everything of its topics."""

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        everything = frozenset((topic, "#") for topic, _ in subscription.bindings)
        super().declare(Subscription(subscription.queue, everything, subscription.lasting), obsolete)


class Sticky(InMemoryBroker):
    """Never removes a binding."""

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        known = self._queues[subscription.queue].bindings if subscription.queue in self._queues else frozenset()
        super().declare(Subscription(subscription.queue, subscription.bindings | known, subscription.lasting), obsolete)


class Doubling(InMemoryBroker):
    """Publishes twice."""

    def put(self, topic: str, body: bytes, routing_key: str, **properties: Any) -> None:
        super().put(topic, body, routing_key, **properties)
        super().put(topic, body, routing_key, **properties)


class Silent(InMemoryBroker):
    """Does not tell that nobody is bound."""

    def __init__(self) -> None:
        super().__init__()
        self._unheard.unheard = lambda keys: None  # type: ignore[method-assign]


class Backwards(InMemoryBroker):
    """The last comes first."""

    def _take(self, queue: str, count: int) -> list[tuple[int, Received]]:
        return super()._take(queue, count)[::-1]


class Receiving(InMemoryBroker):
    """Its receivers are others."""

    receivers: type[InMemoryReceiver]

    def receiver(self, subscription: Subscription, prefetch: int = 100) -> InMemoryReceiver:
        return self.receivers(self, subscription, prefetch)


class NeverForgets(Receiving):
    class receivers(InMemoryReceiver):
        """What is acknowledged comes again."""

        def acknowledge(self, messages: Sequence[Received]) -> None:
            pass


class Drops(Receiving):
    class receivers(InMemoryReceiver):
        """What is given back is gone."""

        def give_back(self, messages: Sequence[Received]) -> None:
            self.acknowledge(messages)


class Greedy(Receiving):
    class receivers(InMemoryReceiver):
        """Takes more than it may hold."""

        def __init__(self, broker: InMemoryBroker, subscription: Subscription, prefetch: int) -> None:
            super().__init__(broker, subscription, 1_000_000)


class Deaf(Receiving):
    class receivers(InMemoryReceiver):
        """Cannot be woken."""

        def wake(self) -> None:
            pass


class Brittle(Receiving):
    class receivers(InMemoryReceiver):
        """Ends with the first message that it cannot read."""

        def receive(self, timeout: float) -> list[Received]:
            messages = super().receive(timeout)
            for message in messages:
                self._broker.format.decode(message)
            return messages


BROKEN = [
    (Forgetful, "it_waits_for_its_consumer"),
    (Indiscriminate, "a_queue_gets_the_types_that_it_is_bound_to"),
    (Sticky, "what_is_not_asked_for_any_more_is_unbound"),
    (Doubling, "declaring_again_changes_nothing"),
    (Doubling, "consumers_of_one_queue_share_it"),
    (Doubling, "threads_publish_side_by_side"),
    (Silent, "an_event_that_nobody_is_bound_to_is_told_of"),
    (Backwards, "many_in_one_call_arrive_in_order"),
    (NeverForgets, "what_is_acknowledged_does_not_come_again"),
    (Drops, "what_is_given_back_comes_again"),
    (Greedy, "never_more_than_its_prefetch_is_out"),
    (Deaf, "waking_a_receiver_ends_its_wait"),
    (Brittle, "garbage_does_not_stop_a_receiver"),
]


class Everything(BrokerContract):
    promises = InMemoryBroker.promises


@pytest.mark.parametrize("broker, scenario", BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_promise_is_found(
    broker: type[InMemoryBroker],
    scenario: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module in (broker_contract, broker_contract_receiving, broker_desk):
        monkeypatch.setattr(module, "PATIENCE", 0.3)
    desk = Desk(Server(broker()))
    test = getattr(Everything(), f"test_{scenario}")
    with pytest.raises(Exception):
        test(desk, caplog) if broker is Silent else test(desk)


def test_what_is_not_promised_is_not_tried() -> None:
    class Modest(BrokerContract):
        promises = Promises(
            "at most once", durable=False, ordered=False, shared=False, routed=False, tells_unroutable=False
        )
        has_server = False

    def tests(contract: type[BrokerContract]) -> set[str]:
        return {name for name in dir(contract) if name.startswith("test_") and getattr(contract, name)}

    assert "test_what_nobody_listens_to_is_missed" in tests(Modest) - tests(Everything)
    assert tests(Everything) - tests(Modest) >= {
        "test_a_dead_server_is_told_of",
        "test_many_in_one_call_arrive_in_order",
        "test_consumers_of_one_queue_share_it",
        "test_a_queue_gets_the_types_that_it_is_bound_to",
        "test_an_event_that_nobody_is_bound_to_is_told_of",
        "test_it_waits_for_its_consumer",
    }
