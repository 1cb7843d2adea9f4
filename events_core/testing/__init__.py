"""Testing kit: for applications without a broker, and for adapters of one's own. See docs/testing.md.

`capture` keeps what a system emits instead of sending it, and runs its handlers in the test's own process; with pytest
it is the fixture ``events`` (`events_core.testing.plugin`). `InMemoryLimiter` (``.memory``) admits deliveries without a
server. The contract suites (``.broker_contract``, ``.limit_contract``) tell whether an adapter keeps its promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events_core.testing.captured import CapturedEvents
    from events_core.testing.capturing import capture
    from events_core.testing.results import Clock, DeadDelivery, Handled, PendingDelivery

__all__ = ["CapturedEvents", "Clock", "DeadDelivery", "Handled", "PendingDelivery", "capture"]

_HOMES = {"capture": "capturing", "CapturedEvents": "captured"}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: pytest loads the plugin beside this, in projects that may not use it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'results')}"), name)
