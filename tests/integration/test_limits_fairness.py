"""Who waits begins in turn, and a tenant with few deliveries does not wait behind one with many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import fair
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

MANY, FEW = 300, 10
#: Starts of the others for each of the small tenant's: as many as its own where all take equally long.
SHARE = 4


@pytest.fixture
def made(redis_server: Any) -> Iterator[Rig]:
    with rig(fair, "redis", redis_server) as one:
        yield one


def emit(made: Rig, tenant: str, number: int) -> None:
    made.emit_many([fair.Job(tag="a", tenant=tenant, number=n) for n in range(number)])


def override(made: Rig, definition: str | bool) -> None:
    made.parts.turns.admission.call(["override", "limit:tenant", definition])


def starts(made: Rig) -> list[tuple[str, int]]:
    """Tenant and number, in the order in which they were given their places."""
    records = made.wait_for_records("a", MANY + FEW, timeout=60)
    return [(line["what"], line["number"]) for line in sorted(records, key=lambda line: line["token"])]


def test_turns(made: Rig) -> None:
    """Parked one behind another, the many first: each tenant's begin in that order, the few beside them."""
    override(made, "0")
    parking = made.worker("solo", 1)
    emit(made, "large", MANY)
    emit(made, "small", FEW)
    client = made.parts.coordination.client
    wait_until(lambda: client.hlen(f"{made.name}:parked:messages") == MANY + FEW, 60, "all to be parked")
    parking.terminate()
    for _ in range(2):
        made.worker("threads", 8)
    override(made, False)
    began = starts(made)
    for tenant, number in (("large", MANY), ("small", FEW)):
        assert [n for name, n in began if name == tenant] == list(range(number))
    assert began.index(("small", FEW - 1)) < FEW * (1 + SHARE)


def test_newcomers(made: Rig) -> None:
    """The few come while the many are at it: no more than their share of the many begins before them."""
    for _ in range(2):
        made.worker("threads", 8)
    emit(made, "large", MANY)
    made.wait_for_records("a", MANY // 10)
    emit(made, "small", FEW)
    made.wait_for_empty_queue()  # the few are behind no message of the many any more
    before = len(made.records("a", "large"))
    began = starts(made)
    last = max(began.index(("small", n)) for n in range(FEW))
    assert last < before + FEW * (1 + SHARE)
    assert {tenant for tenant, _ in began[-MANY // 4 :]} == {"large"}
