"""Follow-ups that somebody must hear, and nobody does: the delivery fails, and holds no slot for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from events_core import DomainEvent, EventSystem, NotificationEvent, Retry
from events_core.brokers import InMemoryBroker, IntegrationMessage, Subscription
from events_core.errors import Unroutable
from events_worker.dead_letters.redrive import next_generation
from events_worker.outcome import Dead, Delayed, Done
from events_worker.parts import parts_of
from events_worker.run import Run


class Asked(DomainEvent, event_type="unheard.asked"):
    pass


class Noted(DomainEvent, event_type="unheard.noted"):
    pass


class Answered(NotificationEvent, event_type="unheard.answered", topic="unheard"):
    pass


class Strict(InMemoryBroker):
    """As an ExchangeBroker with unroutable="raise": refuses until somebody listens."""

    heard = False

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        if not self.heard:
            raise Unroutable("no queue is bound", unsent=[message.delivery for message in messages])
        super().publish(messages, timeout)


@pytest.fixture
def broker() -> Strict:
    broker = Strict()
    broker.declare(Subscription("other.unheard", frozenset({("unheard", "#")})))
    return broker


@pytest.fixture
def system(redis_url: str, system_name: str, broker: Strict) -> Iterator[EventSystem]:
    system = EventSystem(system_name, broker_url=redis_url, message_broker=broker)
    system.bind(Asked, lambda event: [Noted(), Answered()], name="asked", retry=Retry(max_attempts=2, jitter=False))
    system.bind(Noted, lambda event: None, name="noted")
    yield system
    system.close()


def test_it_is_retried_and_dead_in_the_end(system: EventSystem, broker: Strict) -> None:
    """It was insisted on for ever: such deliveries took every slot, and stopped handlers that have nothing to do
    with them.
    """
    parts, (message,) = parts_of(system), system.emitter.messages_of(Asked(), None)
    payload = json.loads(message.body)[0][0]

    def queued() -> int:
        return int(parts.coordination.client.xlen(f"stream:{system.settings.default_queue}"))

    def run(**headers: object) -> object:
        asked = Run.of(message.delivery.task_id, "asked", "q", message.headers | headers, payload, redelivered=False)
        return parts.execution.execute(asked)

    failed = run()
    assert isinstance(failed, Delayed)
    assert (failed.attempt, failed.reason) == (2, "Unroutable")
    assert queued() == 0  # a failed attempt has emitted nothing
    dead = run(**{"events-attempt": 2, "events-run": 2})
    assert isinstance(dead, Dead)
    assert dead.reason == "exhausted"
    [letter] = parts.dead_letters.find()
    assert "no queue is bound" in letter.error
    broker.heard = True
    again = next_generation(system, letter)
    redriven = Run.of(again.headers["id"], "asked", "q", again.headers, payload, redelivered=False)
    assert parts.execution.execute(redriven) == Done()
    assert queued() == 1
    assert [envelope.type for envelope in (each.envelope for each in broker.published)] == ["unheard.answered"]


def test_two_messages_of_one_delivery_that_wait_are_both_kept(system: EventSystem) -> None:
    """The one that owns it must not be replaced by the other: that would come round until the ledger forgets."""
    parts, (message,) = parts_of(system), system.emitter.messages_of(Asked(), None)
    task_id, payload = message.delivery.task_id, json.loads(message.body)[0][0]
    parts.ledger.begin_alone(task_id, 1, "somebody")
    for once in ("first", "second"):
        headers = message.headers | {"events-once": once}
        parts.execution.execute(Run.of(task_id, "asked", "q", headers, payload, redelivered=True))
    kept = parts.coordination.client.hvals(parts.schedule.keys[1])
    assert sorted(json.loads(text)["headers"]["events-once"] for text in kept) == ["first", "second"]
