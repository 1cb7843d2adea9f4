"""latest_only: of each entity newer versions only, one after another; the watermark is in the coordination Redis."""

from __future__ import annotations

from typing import Any

import pytest

from events_core.coordination import Coordination
from events_core.event_map import EventMap
from events_worker.run import Newest
from events_worker.subscriptions.watermarks import Watermarks
from tests.apps import subscribing as app
from tests.apps.subscription_rig import subscription_rig
from tests.support.waiting import wait_until


@pytest.mark.parametrize("broker, pool", [("redis", "threads"), ("rabbitmq", "prefork")])
def test_older_versions_are_done_without_running(
    broker: str, pool: str, redis_server: Any, rabbitmq_server: Any
) -> None:
    """Two customers' revisions, out of order and repeated: each handler run is newer than those before; what follows
    from it is emitted; left out versions and gaps are counted, and a gap is told in the log without the customer.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        worker = sub.worker(pool, 4)
        revisions = [("ann", 1), ("bob", 7), ("ann", 3), ("ann", 2), ("bob", 7), ("bob", 8), ("ann", 4)]
        sub.orders.emit_many([app.Moved(tag="t", customer=who, revision=number) for who, number in revisions])
        sub.rig.wait_for_records("t", 5, "packed")
        wait_until(lambda: sub.counts("crm")["outdated"] == 2, what="two to be left out")
        moved = [(line["customer"], line["revision"]) for line in sub.rig.records("t", "moved")]
        assert [number for who, number in moved if who == "ann"] == [1, 3, 4]
        assert [number for who, number in moved if who == "bob"] == [7, 8]
        wait_until(lambda: sub.counts("crm")["gaps"] == 1, what="the gap to be counted")
        worker.wait_for_log(r"move: version 3 of an entity came after 1: those between are missing")
        assert "ann" not in worker.log
        assert sub.rig.letters() == []


def test_watermarks_only_rise(redis_url: str) -> None:
    """Versions are compared as whole numbers of any size, below zero too, whoever comes late."""
    import redis

    client = redis.Redis.from_url(redis_url, decode_responses=True)
    watermarks = Watermarks(Coordination(client, "w:"), EventMap())
    huge = 2**70
    for version in (-10, -9, 0, 9, 10, huge, huge + 1):
        newest = Newest("h", "e", version)
        assert not watermarks.is_outdated(newest)
        watermarks.raise_to(newest)
        assert watermarks.is_outdated(newest)
    for version in (huge, 10, 9, 0, -9, -10):
        watermarks.raise_to(Newest("h", "e", version))
        assert watermarks.is_outdated(Newest("h", "e", version))
        assert client.hget("w:watermarks:h", "e") == str(huge + 1)
    assert not watermarks.is_outdated(Newest("h", "other", 1))
