"""When the gatekeeper lets Redis know that a run has ended."""

from __future__ import annotations

from typing import Any

import pytest

from events_core.coordination import Coordination
from events_core.event_map import EventMap
from events_worker.limits.gatekeeper import Gatekeeper
from events_worker.limits.leases import Lease
from events_worker.outcome import Done
from events_worker.run import Run


class Leases:
    """Remembers how the releases were to be sent."""

    def __init__(self) -> None:
        self.at_once: list[bool] = []

    def drop(self, lease: Lease) -> None:
        pass

    def release_soon(self, operation: list[Any], *, at_once: bool = False) -> None:
        self.at_once.append(at_once)


class NoTurns:
    admission: Any = None


@pytest.mark.parametrize(
    ("granted", "others_wait", "at_once"),
    [
        pytest.param(True, False, True, id="who waits in Redis must not wait for a pause"),
        pytest.param(True, True, False, id="the next one's admission takes it along"),
        pytest.param(False, False, False, id="nobody was parked a moment ago"),
    ],
)
def test_a_release_is_sent_at_once(granted: bool, others_wait: bool, at_once: bool) -> None:
    coordination: Any = Coordination(None, "")  # type: ignore[arg-type]
    turns: Any = NoTurns()
    gatekeeper = Gatekeeper(coordination, turns, EventMap(), lambda action: action())
    gatekeeper._leases = leases = Leases()  # type: ignore[assignment]
    gatekeeper.others_wait = lambda: others_wait
    run = Run("id", "mail", "q", {}, None, granted=granted, lease=Lease("id", 1, ["limit:x|"], 1000, 0.0))
    gatekeeper.dismiss(run, Done())
    assert leases.at_once == [at_once]
