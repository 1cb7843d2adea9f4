"""The worker in the test's own process: the one place where events_core asks for events_worker."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from events_core.events import IntegrationEvent
from events_core.system import EventSystem
from events_core.testing.group_book import GroupBook
from events_core.testing.recorder import Recorder
from events_core.testing.results import Clock, DeadDelivery, Handled, PendingDelivery


class InlineWorker(Protocol):
    """What the captured events ask of `events_worker.inline`, where everything is described."""

    dead: list[DeadDelivery]

    def pending(self) -> list[PendingDelivery]: ...

    def run(self) -> list[Handled]: ...

    async def arun(self) -> list[Handled]: ...

    def next_due(self) -> float | None: ...

    def handle(self, handler: Any, event: Any) -> Handled: ...

    async def ahandle(self, handler: Any, event: Any) -> Handled: ...

    def receive(self, event: IntegrationEvent, topic: str | None) -> list[PendingDelivery]: ...

    def clear(self) -> None: ...


def inline_worker(system: EventSystem, recorder: Recorder, book: GroupBook, clock: Clock) -> InlineWorker:
    """The worker of what was captured."""
    worker: InlineWorker = importlib.import_module("events_worker.inline").InlineWorker(system, recorder, book, clock)
    return worker


def find_system(path: str) -> EventSystem:
    """The system at ``module`` or ``module:name``, as `events worker -A` finds it. Raises ConfigurationError."""
    system: EventSystem = importlib.import_module("events_worker.find").find_system(path)
    return system
