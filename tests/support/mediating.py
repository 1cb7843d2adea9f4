"""What a mediator under test emits by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from events_core import EmitError, Event
from events_core.mediator import Mediator, RequestMap


class Emitter:
    """Keeps the batches it was given, or fails with EmitError."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.failing = False
        self.container: Any = None

    def emit_many(self, events: Iterable[Event], /) -> None:
        if self.failing:
            raise EmitError("the broker is down")
        self.batches.append(list(events))

    async def aemit_many(self, events: Iterable[Event], /) -> None:
        self.emit_many(events)


class Always:
    """A container that gives the same instance each time."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance

    def resolve(self, wanted: Any, /) -> Any:
        return self.instance


def mediator_for(request: type[Any], handler: type[Any], **options: Any) -> tuple[Mediator, Emitter]:
    """A mediator for one kind of requests, and what it emits by."""
    emitter = Emitter()
    requests = RequestMap()
    requests.bind(request, handler)
    return Mediator(event_emitter=emitter, request_map=requests, **options), emitter
