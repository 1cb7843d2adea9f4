"""What a run's end grants is run by the same process, on a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from events_core.transport import keys
from tests.apps import limited
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

NUMBER = 60


@pytest.fixture
def made(redis_server: Any) -> Iterator[Rig]:
    with rig(limited, "redis", redis_server) as one:
        yield one


def parked(made: Rig) -> int:
    return int(made.parts.coordination.client.hlen(f"{made.name}:parked:messages"))


def handed_on(made: Rig) -> int:
    """How many messages were ever added to the queue of what was granted."""
    client = made.parts.coordination.client
    stream = keys.stream_key("", f"{made.queue}.granted")
    found: dict[str, Any] = client.xinfo_stream(stream)  # type: ignore[assignment]
    if "entries-added" not in found:
        pytest.skip("a Redis before 7 does not count what was added to a stream")
    return int(found["entries-added"])


def test_the_broker_is_not_asked(made: Rig) -> None:
    """All that was parked runs, three at once, and hardly any of it came through the queue of what is granted."""
    for _ in range(2):
        made.worker("threads", 4)
    made.emit_many([limited.Mail(tag="a", tenant=str(n % 3)) for n in range(NUMBER)])
    wait_until(lambda: made.waiting() == NUMBER - 3, 30, "all others to be parked")
    before = handed_on(made)
    made.open_gate("a")
    made.wait_for_records("a", NUMBER, "out")
    inside = 0
    for line in made.records("a"):
        inside += 1 if line["what"] == "in" else -1
        assert inside <= 3
    wait_until(lambda: not parked(made), 30, "nothing to be left")
    assert len(made.records("a", "out")) == NUMBER
    assert handed_on(made) - before < NUMBER / 4


def test_a_worker_that_stops_leaves_what_it_took_over(made: Rig) -> None:
    """It does not wait for the leases to end: another worker has it at once, and every delivery runs."""
    first = made.worker("threads", 4)
    made.emit_many([limited.Mail(tag="a", tenant=str(n % 3)) for n in range(NUMBER)])
    wait_until(lambda: made.waiting() == NUMBER - 3, 30, "all others to be parked")
    made.worker("threads", 4)
    made.open_gate("a")
    made.wait_for_records("a", 10, "out")
    first.terminate()
    made.wait_for_records("a", NUMBER, "out")
    wait_until(lambda: not parked(made), 30, "nothing to be left")
    assert len(made.records("a", "out")) == NUMBER
