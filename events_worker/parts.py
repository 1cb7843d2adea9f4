"""The parts of the worker of one system, put together once per process."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from events_core import EventSystem
from events_core.admission.turns import Turns
from events_core.coordination import Coordination, connect
from events_core.publishing.connect import counts_deliveries
from events_worker.dead_letters import DeadLetters
from events_worker.execution import Execution
from events_worker.isolation import Isolation
from events_worker.ledger import Ledger
from events_worker.limits.gatekeeper import Gatekeeper
from events_worker.limits.parking import Parking
from events_worker.running import Runner
from events_worker.schedule import Schedule
from events_worker.settlement import Settlement
from events_worker.subscriptions.watermarks import Watermarks


@dataclass(frozen=True, slots=True)
class Parts:
    """What the worker consists of."""

    coordination: Coordination
    ledger: Ledger
    schedule: Schedule
    dead_letters: DeadLetters
    settlement: Settlement
    gatekeeper: Gatekeeper
    parking: Parking
    turns: Turns
    execution: Execution


_parts: WeakKeyDictionary[EventSystem, Parts] = WeakKeyDictionary()
_lock = threading.RLock()


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_new_lock)


def parts_of(system: EventSystem) -> Parts:
    """The parts of that system. Raises ConfigurationError where no coordination Redis is known."""
    with _lock:
        if system not in _parts:
            _parts[system] = _make(system)
        return _parts[system]


def all_parts() -> list[Parts]:
    """Those that this process has."""
    with _lock:
        return list(_parts.values())


def _make(system: EventSystem) -> Parts:
    coordination = connect(system)

    def let_go(members: Sequence[str]) -> None:
        gatekeeper.let_go(members)

    ledger = Ledger(coordination)
    schedule = Schedule(coordination, ledger)
    dead_letters = DeadLetters(coordination, ledger, schedule, system.settings.dead_retention, let_go)
    watermarks = Watermarks(coordination, system.event_map)
    settlement = Settlement(ledger, schedule, dead_letters, system.emitter.publish, watermarks)
    turns = Turns(lambda: coordination, system.emitter.hand_over, system.settings.emit_timeout)
    gatekeeper = Gatekeeper(coordination, turns, system.event_map, settlement.insist, dead_letters.has)
    execution = Execution(
        find=system.event_map.find,
        emitter=system.emitter,
        runner=Runner(system.container, system.middleware),
        ledger=ledger,
        settlement=settlement,
        isolate=Isolation(system.module, system.name, ledger).run,
        max_hops=system.settings.max_hops,
        unknown_grace=system.settings.unknown_grace,
        counted=counts_deliveries(system.celery),
        gatekeeper=gatekeeper,
        watermarks=watermarks,
    )
    return Parts(
        coordination, ledger, schedule, dead_letters, settlement, gatekeeper, Parking(gatekeeper), turns, execution
    )
