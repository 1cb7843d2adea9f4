"""The execution of one run: decode > verify > admit > begin > run > settle.

Each step returns an outcome, or None to go on. An outcome is settled in one place; then, and only then, the caller
acknowledges the message. In the ordinary case (a first run, delivered once, done, nothing to follow) no step asks or
stores anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol
from uuid import uuid4

from events_core.correlation import correlating
from events_core.envelope import Envelope
from events_core.errors import (
    InvalidEnvelope,
    UnknownEventType,
    UnknownEventVersion,
    Unroutable,
)
from events_core.events import Event
from events_core.handlers import HandlerSpec, returned_events
from events_core.hold import without_rolled_back
from events_core.ids import DerivedIds
from events_core.publishing.messages import Carried
from events_core.scope import HandlingScope, handling
from events_worker.holding import hold_or_bury, unknown_handler
from events_worker.ledger import Begun, Claimed, Ended, Ledger, Suspect
from events_worker.limits.gatekeeper import Gatekeeper
from events_worker.outcome import Busy, Dead, Done, Outcome, Settled, is_failure
from events_worker.redaction import redacted
from events_worker.retries import DANGEROUS, MAX_STARTS, after_failure
from events_worker.run import Run
from events_worker.running import Runner
from events_worker.settlement import Settlement
from events_worker.subscriptions.watermarks import Watermarks

logger = logging.getLogger(__name__)

#: Seconds added to what a copy waits for another to finish.
_BUSY_MARGIN = 0.5


class Emitter(Protocol):
    """What the execution needs of the system's emitter."""

    def emit_many(self, events: Iterable[Event], *, now: bool = False) -> Any: ...

    def publish(self, messages: Sequence[Carried], timeout: float | None = None) -> None: ...


class Execution:
    """Executes the runs of one system.

    find: the handler of a task name. isolate: runs a suspect in a process of its own; gives its outcome, and whether
    that process has settled it; None if there is no such process. counted: the broker counts deliveries in vain.
    gatekeeper: admits runs that are limited. watermarks: tell which runs are outdated.
    """

    def __init__(
        self,
        *,
        find: Callable[[str], HandlerSpec | None],
        emitter: Emitter,
        runner: Runner,
        ledger: Ledger,
        settlement: Settlement,
        isolate: Callable[[Run], tuple[Outcome, bool] | None],
        max_hops: int,
        unknown_grace: float,
        counted: bool = False,
        gatekeeper: Gatekeeper | None = None,
        watermarks: Watermarks | None = None,
    ) -> None:
        self._find = find
        self._emitter = emitter
        self._runner = runner
        self._ledger = ledger
        self._settlement = settlement
        self._isolate = isolate
        self._max_hops = max_hops
        self._unknown_grace = unknown_grace
        self._counted = counted
        self._gatekeeper = gatekeeper
        self._watermarks = watermarks
        self._odd_returns: set[str] = set()

    def execute(self, run: Run) -> Outcome:
        """Run the delivery and settle it. Returns when the message may be acknowledged."""
        undecodable = self._decode(run)
        correlation = correlating.set(None if run.envelope is None else run.envelope.correlation_id)
        try:
            return self._execute(run, undecodable or self._verify(run))
        finally:
            correlating.reset(correlation)

    def _execute(self, run: Run, outcome: Outcome | None) -> Outcome:
        if outcome is not None:
            run.starts -= 1  # its handler is not begun
        elif not run.isolated and self._gatekeeper is not None:
            outcome = self._gatekeeper.admit(run)
        if outcome is not None:
            outcome = self._settlement.settle(run, outcome)
            if not run.isolated and self._gatekeeper is not None:
                self._gatekeeper.turn_away(run, outcome)
            return outcome
        if self._gatekeeper is None:
            return self._run(run)
        try:
            settled = self._run(run)
        except BaseException:  # a fault of ours: the message goes back, and its lease must not be renewed for ever
            self._gatekeeper.abandon(run)
            raise
        self._gatekeeper.dismiss(run, settled)
        return settled

    def _run(self, run: Run) -> Outcome:
        outcome = self._begin(run)
        if outcome is None and run.suspect and not run.isolated:
            ended = self._isolate(run)
            if ended is not None:
                outcome, settled = ended
                run.failed = is_failure(outcome)
                if settled:
                    return outcome
            else:
                outcome = self.begin_alone(run)
        outcome = outcome or self._handle(run)
        try:
            return self._settlement.settle(run, outcome)
        except Unroutable as error:  # as one that it had published by itself, with now=True
            assert run.spec is not None
            return self._settlement.settle(run, self._after(run, run.spec, error))

    def _decode(self, run: Run) -> Outcome | None:
        if run.event is not None:
            return None  # the gatekeeper has read it
        try:
            run.envelope = Envelope.parse(run.payload)
            run.event = run.envelope.event()
        except (UnknownEventType, UnknownEventVersion) as error:
            return hold_or_bury(run, "unknown_event", error, self._unknown_grace)
        except InvalidEnvelope as error:
            return Dead("undecodable", str(error), type(error).__name__)
        except Exception as error:
            # a validator of the application's that fails otherwise than by ValueError; its text may quote the payload
            return Dead("undecodable", f"decoding the event failed: {type(error).__name__}", type(error).__name__)
        return None

    def _verify(self, run: Run) -> Outcome | None:
        run.spec = self._find(run.task)
        if run.spec is None:
            return hold_or_bury(run, "unknown_handler", unknown_handler(run.task), self._unknown_grace)
        hops = run.envelope.hops if run.envelope else 0
        if hops > self._max_hops:
            chain = run.headers.get("events-chain")
            said = f"{hops} events followed from one another, more than MAX_HOPS ({self._max_hops})"
            return Dead("too_many_hops", f"{said}: {chain}" if chain else said)
        return None

    def _begin(self, run: Run) -> Outcome | None:
        if run.ordinary or run.isolated:
            return None
        if run.once and run.number == 1:
            owned = self._settlement.insist(lambda: self._ledger.own(run.task_id, run.number, run.once))
            if not isinstance(owned, Begun):  # should the other message's run not end, that message comes again
                return self._begun(run, owned)
            if run.first and not run.in_vain:
                return None
        if self._counted or run.dangers >= MAX_STARTS - 1:
            return self._begin_in_danger(run)
        # A first run is not counted when it begins; delivered again, it is presumed to have begun once. It is no
        # suspect yet: a broker that restarts calls all that it kept delivered again.
        presumed = 1 if run.redelivered and run.number == 1 else 0
        begun = self._settlement.insist(lambda: self._ledger.begin(run.task_id, run.number, presumed=presumed))
        if isinstance(begun, Suspect):
            run.suspect = True
            run.starts += begun.unfinished
            if begun.unfinished + run.dangers >= MAX_STARTS:
                return self._poison(run)
            return None
        return self._begun(run, begun)

    def _begin_in_danger(self, run: Run) -> Outcome | None:
        """Each delivery in vain was a start, or a bystander's; the third start of what is in danger happens alone."""
        found = self._settlement.insist(lambda: self._ledger.look(run.task_id, run.number))
        if not isinstance(found, Begun):
            return self._begun(run, found)
        # a delivery in vain may have been no start: after two in danger, one is begun alone, and counted
        run.starts += min(run.in_vain, max(MAX_STARTS - 1 - run.dangers, 0)) + found.starts
        if found.starts and max(run.in_vain, found.starts) + run.dangers >= MAX_STARTS:
            return self._poison(run)  # it could not be run alone, or not even that helped
        run.suspect = run.in_vain + run.dangers >= MAX_STARTS - 1
        return None

    def _poison(self, run: Run) -> Dead:
        run.starts -= 1
        return Dead("poison", f"{MAX_STARTS} starts did not come to an end: it ends its process, or is too long")

    def begin_alone(self, run: Run, owner: str | None = None) -> Outcome | None:
        """Count and claim the start of a suspect, by who runs it. owner: names this start; a new name by default."""
        name = owner or uuid4().hex
        return self._begun(
            run, self._settlement.insist(lambda: self._ledger.begin_alone(run.task_id, run.number, name))
        )

    def _begun(self, run: Run, begun: Begun | Claimed | Ended) -> Outcome | None:
        if isinstance(begun, Ended):
            return Settled(begun.how)
        if isinstance(begun, Claimed):
            return Busy(begun.seconds + _BUSY_MARGIN)
        if not run.suspect:
            run.starts += begun.starts - 1
        return None

    def _handle(self, run: Run) -> Outcome:
        assert run.spec is not None
        if run.spec.latest_only and self._is_outdated(run):
            return Done()
        fallback = run.spec.fallback
        if run.instead and fallback is not None:
            return self._call(run, fallback)
        outcome = self._call(run, run.spec)
        run.failed = is_failure(outcome)
        if fallback is None or run.spec.fallback_on == "open":
            return outcome
        if isinstance(outcome, Dead) and outcome.reason == "exhausted":
            instead = self._call(run, fallback)
            if isinstance(instead, Done):
                return instead
        return outcome

    def _is_outdated(self, run: Run) -> bool:
        assert run.spec is not None
        assert run.event is not None
        watermarks = self._watermarks
        newest = None if watermarks is None else watermarks.of(run.spec, run.event)
        if watermarks is None or newest is None:
            return False
        if self._settlement.insist(lambda: watermarks.is_outdated(newest)):
            return True
        run.newest = newest
        return False

    def _call(self, run: Run, spec: HandlerSpec) -> Outcome:
        assert run.envelope is not None
        assert run.event is not None
        headers = run.headers
        scope = HandlingScope(
            run.task_id,
            str(headers.get("root_id") or run.task_id),
            run.envelope,
            str(headers.get("events-chain") or run.envelope.type),
            run.token or None,
            _text(headers.get("traceparent")),
        )
        ids = DerivedIds(run.task_id, run.event.event_id, run.event.occurred_at)
        try:
            with handling(scope, ids):
                self._runner.run(spec, run.event, self._emit_returned)
        except BaseException as error:
            return self._after(run, spec, error)
        run.follow_ups = without_rolled_back(scope.held, scope.fates)
        return Done()

    def _after(self, run: Run, spec: HandlerSpec, error: BaseException) -> Outcome:
        """What follows from a failed attempt."""
        assert run.envelope is not None
        failure = redacted(error, run.envelope)
        if isinstance(error, DANGEROUS):
            run.dangers += run.starts_of_it  # those that did not come to an end too: they may have ended the same way
        return after_failure(error, failure, spec.retry, attempt=run.attempt, starts=run.starts)

    def _emit_returned(self, spec: HandlerSpec, returned: Any) -> None:
        """Emit what the handler returned, if that is events."""
        if returned is None:
            return
        events = returned_events(returned, spec.name)
        if events:
            self._emitter.emit_many(events)
        elif events is None and spec.name not in self._odd_returns:
            self._odd_returns.add(spec.name)
            kind = type(returned).__name__
            logger.warning("%s returned a %s, which is ignored: only events are emitted", spec.name, kind)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
