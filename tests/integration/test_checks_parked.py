"""What `events check` says of parked deliveries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core import EventSystem
from events_worker.checks.parked import check_parked
from tests.support.admission import PREFIX, Gatehouse

SMTP = "limit:smtp|"


@pytest.fixture
def house(redis_url: str) -> Iterator[Gatehouse]:
    house = Gatehouse(redis_url)
    house.declare(limit_smtp=1)
    yield house
    house.close()


@pytest.fixture
def system(redis_url: str) -> EventSystem:
    return EventSystem("shop", broker_url=redis_url)


def said(system: EventSystem) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in check_parked(system)]


def test_what_waits_its_turn_is_in_order(house: Gatehouse, system: EventSystem) -> None:
    assert said(system) == []
    house.go("a", SMTP)
    house.wait("b", SMTP)
    assert said(system) == []


def test_a_limit_that_nobody_defines(house: Gatehouse, system: EventSystem) -> None:
    house.go("a", SMTP)
    house.wait("b", SMTP)
    house.client.hdel(f"{PREFIX}gates", "limit:smtp")
    [(level, text)] = said(system)
    assert level == "warning"
    assert text.startswith("1 deliveries wait at the limit 'smtp', which no worker defines")
    assert "`events limits set smtp MAX`" in text


def test_messages_that_were_evicted(house: Gatehouse, system: EventSystem) -> None:
    house.go("a", SMTP)
    for name in "bcd":
        house.wait(name, SMTP)
    house.client.delete(f"{PREFIX}parked:messages")
    [(level, text)] = said(system)
    assert level == "error"
    assert text.startswith("of 3 deliveries that wait at the limit 'smtp', 0 at the most still have their message")


def test_a_redis_that_is_down_is_said_elsewhere(system_name: str) -> None:
    assert said(EventSystem(system_name, broker_url="redis://127.0.0.1:1/0")) == []
    assert said(EventSystem(system_name, broker_url="amqp://guest:guest@127.0.0.1:1//")) == []
