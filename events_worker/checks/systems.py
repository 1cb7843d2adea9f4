"""Several systems in one process. Touches no network."""

from __future__ import annotations

from collections.abc import Iterator

from events_core import EventSystem
from events_core.system import systems
from events_worker.checks.finding import Finding


def check_systems(system: EventSystem) -> Iterator[Finding]:
    """Finding on systems of one name, which would take each other's deliveries."""
    # by module: one that was loaded anew may have left its older system behind
    modules = sorted({other.module for other in list(systems) if other.name == system.name})
    if len(modules) > 1:
        yield Finding(
            "error",
            f"{len(modules)} EventSystems of this process are named {system.name!r} (made in {', '.join(modules)}): "
            "they share queues and keys, and a worker of one does not know the handlers of the other. Give each a name "
            "of its own, or make one and import it",
        )
