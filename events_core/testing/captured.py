"""CapturedEvents: what was emitted, assertions about it, and its deliveries, which a test may run."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, TypeVar, overload

from events_core.brokers.base import IntegrationMessage
from events_core.events import Event, IntegrationEvent
from events_core.system import EventSystem
from events_core.testing import telling
from events_core.testing.group_book import GroupBook
from events_core.testing.inline import InlineWorker, inline_worker
from events_core.testing.recorder import Recorder
from events_core.testing.results import Clock, DeadDelivery, Handled, PendingDelivery

E = TypeVar("E", bound=Event)


class CapturedEvents:
    """What one system has emitted while it was captured; made by `capture` and by the fixture ``events``.

    An event counts as emitted when it would have been sent: what a `hold()` block or a transaction holds back comes
    when that ends, what a failed handler has emitted never.
    """

    def __init__(self, system: EventSystem, recorder: Recorder, book: GroupBook) -> None:
        self.system = system
        #: Of retries; see `run`.
        self.clock = Clock()
        self._recorder = recorder
        self._book = book
        self._made: InlineWorker | None = None

    def __repr__(self) -> str:
        return f"<CapturedEvents of {self.system.name!r}: {len(self.emitted)} emitted>"

    @property
    def _worker(self) -> InlineWorker:
        if self._made is None:
            self._made = inline_worker(self.system, self._recorder, self._book, self.clock)
        return self._made

    # --- what was emitted

    @property
    def emitted(self) -> list[Event]:
        """Every event, in order: domain and integration events, those that handlers emitted, those nobody hears."""
        return [*self._recorder.events]

    def of(self, event_class: type[E]) -> list[E]:
        """Those of a class or its subclasses, in order."""
        return [event for event in self._recorder.events if isinstance(event, event_class)]

    @property
    def messages(self) -> list[IntegrationMessage]:
        """What would have gone to the message broker: each with `topic`, `routing_key` and `body`, as it is sent."""
        return [*self._recorder.messages]

    @overload
    def assert_emitted(self, event_class: type[E], /, *, count: None = None, **fields: Any) -> E: ...

    @overload
    def assert_emitted(self, event_class: type[E], /, *, count: int, **fields: Any) -> list[E]: ...

    def assert_emitted(self, event_class: type[E], /, *, count: int | None = None, **fields: Any) -> E | list[E]:
        """Assert that such an event was emitted, with these values in its fields; return the first.

        count: assert that there are exactly so many; return them all. (To look for a value in a field that is named
        `count` use `of`.) Raises AssertionError, which lists what was emitted; TypeError for an unknown field.
        """
        found = self._find(event_class, fields)
        if count is None and found:
            return found[0]
        if count is not None and len(found) == count:
            return found
        self._fail(event_class, fields, found, count)

    def assert_not_emitted(self, event_class: type[Event], /, **fields: Any) -> None:
        """Assert that no such event was emitted. Raises as `assert_emitted`."""
        found = self._find(event_class, fields)
        if found:
            raise AssertionError(
                f"{telling.wanted(event_class, fields)} was emitted:\n{telling.listed(found, 'These fit')}\n"
                f"{telling.listed(self.emitted)}"
            )

    def assert_nothing_emitted(self) -> None:
        """Assert that no event was emitted at all."""
        if self._recorder.events:
            raise AssertionError(f"nothing should have been emitted.\n{telling.listed(self.emitted)}")

    def _find(self, event_class: type[E], fields: dict[str, Any]) -> list[E]:
        telling.check_fields(event_class, fields)
        return [event for event in self.of(event_class) if telling.fits(event, fields)]

    def _fail(self, event_class: type[E], fields: dict[str, Any], found: list[E], count: int | None) -> NoReturn:
        what = telling.wanted(event_class, fields)
        said = f"{what} was not emitted." if count is None else f"{what} was emitted {len(found)} times, not {count}."
        near = "" if found else telling.nearest(self.of(event_class), fields)
        raise AssertionError("\n".join(filter(None, (said, near, telling.listed(self.emitted)))))

    # --- deliveries

    @property
    def deliveries(self) -> list[PendingDelivery]:
        """Which handlers will get which events: deliveries that have not been run to their end, in order."""
        return self._worker.pending()

    @property
    def dead(self) -> list[DeadDelivery]:
        """The dead letters, in order."""
        return [*self._worker.dead]

    def run(self) -> list[Handled]:
        """Run every delivery that is due, what follows from them included, in order of emission; return the runs.

        They run one after another as in a worker: each handler gets a copy of its own, what it emits is held until it
        has succeeded, failures are retried. A retry is due when its time has come on `clock`, which stands still:
        ``events.clock.advance(60)``, then `run` again. Delays have no jitter: they are the longest ones. What a handler
        raises is in the runs and in `dead`, and not raised here.

        Raises RuntimeError on a running event loop (await `arun` there), and where it comes to no end.
        """
        _refuse_loop("arun")
        return self._worker.run()

    async def arun(self) -> list[Handled]:
        """As `run`, in an async test: async handlers run on the test's own loop, where its fixtures belong.

        Sync handlers run in another thread, in the context of the test.
        """
        return await self._worker.arun()

    def run_until_idle(self) -> list[Handled]:
        """As `run`, and on and on: the clock moves to each retry as it becomes due, until nothing is left."""
        _refuse_loop("arun_until_idle")
        runs = self._worker.run()
        while self._advance():
            runs += self._worker.run()
        return runs

    async def arun_until_idle(self) -> list[Handled]:
        """As `run_until_idle`, in an async test; see `arun`."""
        runs = await self._worker.arun()
        while self._advance():
            runs += await self._worker.arun()
        return runs

    def _advance(self) -> bool:
        due = self._worker.next_due()
        if due is not None:
            self.clock.now = max(due, self.clock.now)
        return due is not None

    def handle(self, handler: Any, event: Event) -> Handled:
        """Run one handler with one event, which need not have been emitted: once, without retries and fallback.

        handler: the function or class that is bound, or its name. What it emits counts as emitted, and waits in
        `deliveries`. Raises what the handler raises; LookupError for a handler that is not bound; TypeError for an
        event that it is not bound to; RuntimeError as `run`.
        """
        _refuse_loop("ahandle")
        return self._worker.handle(handler, event)

    async def ahandle(self, handler: Any, event: Event) -> Handled:
        """As `handle`, in an async test; see `arun`."""
        return await self._worker.ahandle(handler, event)

    def receive(self, event: IntegrationEvent, *, topic: str | None = None) -> list[PendingDelivery]:
        """Another service's event comes from the message broker: what it becomes waits in `deliveries`.

        It is written and read in the format of the system's message broker. topic: where it is heard; default: the
        one that subscribers name for its class. Raises LookupError where nobody is subscribed to it,
        BrokerNotConfigured without a message broker.
        """
        return self._worker.receive(event, topic)

    def clear(self) -> None:
        """Forget what was emitted, what waits and what is dead: for what the setup of a test has emitted."""
        self._recorder.clear()
        if self._made is not None:
            self._made.clear()


def _refuse_loop(instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"an event loop runs here, and would stand still: use `await events.{instead}(...)`")
