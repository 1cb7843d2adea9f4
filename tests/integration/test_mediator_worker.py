"""A mediator in one process and a worker in another, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from events_core import EventSystem
from events_core.brokers import InMemoryBroker
from events_core.errors import BrokerNotConfigured
from events_core.mediator import Mediator
from tests.apps import mediating
from tests.apps.harness import Rig, rig
from tests.apps.mediating import Reserve


@pytest.fixture(scope="module")
def system(redis_server: Any) -> Iterator[Rig]:
    with rig(mediating, "redis", redis_server) as made:
        made.worker(pool="threads", concurrency=4)
        yield made


def send(mediator: Mediator, request: Reserve, how: str) -> Any:
    return mediator.send(request) if how == "sync" else asyncio.run(mediator.asend(request))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_command_returns_at_once_and_its_events_are_handled_in_order(system: Rig, how: str) -> None:
    """It has its response while the worker still stands at the gate; then first in, first out, one after another."""
    tag = f"order-{how}"
    response = send(mediating.mediator_of(system.system), Reserve(tag=tag, seats=[3, 1, 2]), how)
    assert response == 3
    assert system.records(tag) == []
    system.open_gate(tag)
    lines = system.wait_for_records(tag, 5)
    assert [(line["what"], line.get("seat")) for line in lines] == [
        ("reserved", 0),
        ("reserved", 3),
        ("reserved", 1),
        ("reserved", 2),
        ("closed", None),
    ]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_command_that_fails_emits_nothing(system: Rig, how: str) -> None:
    """It fails after it has collected events; those of the next command are the only ones that arrive."""
    tag = f"failed-{how}"
    system.open_gate(tag)
    mediator = mediating.mediator_of(system.system)
    with pytest.raises(ValueError, match="no seat -1"):
        send(mediator, Reserve(tag=tag, seats=[1, -1]), how)
    send(mediator, Reserve(tag=tag, seats=[9]), how)
    system.wait_for_records(tag, 1, "closed")
    lines = system.records(tag)
    assert [line.get("seat") for line in lines] == [0, 9, None]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_integration_events_go_to_the_message_broker_and_domain_events_to_the_worker(system: Rig, how: str) -> None:
    """In one list, as python-cqrs has them; each kind keeps its order."""
    tag = f"both-{how}"
    system.open_gate(tag)
    broker = InMemoryBroker()
    telling = EventSystem(
        system.name,
        broker_url=system.broker_url,
        redis_url=system.redis_url,
        event_map=system.system.event_map,
        message_broker=broker,
    )
    send(mediating.mediator_of(telling), Reserve(tag=tag, seats=[4], tell=True), how)
    telling.close()
    assert [event.number for event in broker.events] == [1, 2]  # type: ignore[attr-defined]
    lines = system.wait_for_records(tag, 3)
    assert [line.get("seat") for line in lines] == [0, 4, None]


def test_without_a_message_broker_none_of_them_is_emitted(system: Rig) -> None:
    system.open_gate("untold")
    with pytest.raises(BrokerNotConfigured, match="To use NotificationEvent, message_broker argument must be"):
        mediating.mediator_of(system.system).send(Reserve(tag="untold", seats=[4], tell=True))
    mediating.mediator_of(system.system).send(Reserve(tag="untold", seats=[5]))
    system.wait_for_records("untold", 1, "closed")
    assert [line.get("seat") for line in system.records("untold")] == [0, 5, None]
