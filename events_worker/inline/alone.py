"""One handler alone: once, without retries, and what it raises is raised."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from events_core import Event, EventSystem
from events_core.envelope import Envelope
from events_core.handlers import HandlerSpec
from events_core.in_transaction import acall, call
from events_core.testing.group_book import GroupBook
from events_core.testing.recorder import Recorder
from events_core.testing.results import Clock, Handled
from events_worker.inline.dead_letters import InlineDeadLetters
from events_worker.inline.gatekeeper import InlineGatekeeper
from events_worker.inline.ledger import InlineLedger
from events_worker.inline.pipeline import Pipeline
from events_worker.inline.schedule import InlineSchedule
from events_worker.outcome import Done


class Alone:
    """Runs single handlers of one system. What they emit is captured; nothing else is left of a run."""

    def __init__(self, system: EventSystem, recorder: Recorder, pipeline: Pipeline) -> None:
        self._system = system
        self._recorder = recorder
        self._pipeline = pipeline

    def handle(self, handler: Any, event: Any) -> Handled:
        """Run it. Raises what it raises, LookupError for one that is not bound, TypeError for an event not its own."""
        spec = self.spec_of(handler)
        self._check_hears(spec, event)
        if spec.in_transaction:
            sent = len(self._recorder.events)
            returned = call(spec, event, self._system.container)
            self._system.emit_many(returned)
            return self._inside(spec, event, returned, sent)
        envelope = Envelope.of(event)
        (message,) = self._system.messages.messages([spec], event, envelope, envelope.to_json(), None)
        if spec.kind == "task":
            return _raising(self._pipeline.run_task(message, spec))
        ledger = InlineLedger()
        execution = self._pipeline.make(
            lambda name: replace(spec, retry=None, fallback=None, latest_only=False),
            ledger,
            InlineSchedule(ledger, Clock()),
            InlineDeadLetters(ledger),
            InlineGatekeeper(self._system.event_map, GroupBook(), lambda messages: None),
        )
        _, outcome, handled = self._pipeline.execute(execution, message)
        if not isinstance(outcome, Done) and handled.error is None:
            raise RuntimeError(f"{spec.name} was not run: {outcome}")
        return _raising(handled)

    async def ahandle_inside(self, spec: HandlerSpec, event: Any) -> Handled:
        """As `handle`, of one that runs in the caller's transaction, and on the caller's loop."""
        self._check_hears(spec, event)
        sent = len(self._recorder.events)
        returned = await acall(spec, event, self._system.container)
        await self._system.aemit_many(returned)
        return self._inside(spec, event, returned, sent)

    def _check_hears(self, spec: HandlerSpec, event: Any) -> None:
        event_map = self._system.event_map
        heard = [key for key, other in event_map.bindings if other.name == spec.name]
        heard += [cls for other in event_map.subscribers if other.spec.name == spec.name for cls in other.events]
        fits = (isinstance(event, k) if isinstance(k, type) else fnmatchcase(event.event_type, k) for k in heard)
        if not any(fits):
            names = ", ".join(key if isinstance(key, str) else key.__qualname__ for key in heard)
            raise TypeError(f"{spec.name} handles {names}, and not {type(event).__qualname__}")

    def _inside(self, spec: HandlerSpec, event: Any, returned: list[Event], sent: int) -> Handled:
        return Handled(spec.name, event, "done", returned=returned, emitted=self._recorder.events[sent:])

    def spec_of(self, handler: Any) -> HandlerSpec:
        """The handler as bound, from its function, class or name. Raises LookupError."""
        event_map = self._system.event_map
        found = event_map.find(handler) if isinstance(handler, str) else None
        found = found or next((spec for spec in event_map.handlers if spec.target is handler), None)
        if found is None:
            known = ", ".join(spec.name for spec in event_map.handlers) or "none"
            name = getattr(handler, "__qualname__", handler)
            raise LookupError(f"{name} is no handler of {self._system.name!r}: bind it first. Bound are: {known}")
        return found


def _raising(handled: Handled) -> Handled:
    if handled.error is not None:
        raise handled.error
    return handled
