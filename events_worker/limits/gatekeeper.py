"""Admits runs, and takes back what they hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

import redis

from events_core.admission.client import FIRST_LEASE, Answer, Blocked, Go, Grant, Parked, Undeclared, answer_of
from events_core.admission.gates import has_gates, passage
from events_core.admission.turns import GRANT_HEADER, Turns
from events_core.coordination import Coordination
from events_core.correlation import correlating
from events_core.envelope import Envelope
from events_core.event_map import EventMap
from events_core.gate_definitions import definitions
from events_core.handlers import HandlerSpec
from events_core.ids import delivery_id
from events_core.policies import Limit
from events_worker import outcome as outcomes
from events_worker.limits.crowded import Crowded
from events_worker.limits.early import Early
from events_worker.limits.emptied import EmptiedWatch
from events_worker.limits.hand_over import HandOver
from events_worker.limits.leases import Leases
from events_worker.limits.paused import PausedHandlers
from events_worker.outcome import Busy, Dead, Done, Outcome, Settled
from events_worker.redaction import redacted
from events_worker.retries import after_failure
from events_worker.run import MEMBER_HEADER, Run

logger = logging.getLogger(__name__)

#: It is parked and waits; it is parked and its turn has come; it is not parked, and is to ask for itself.
LinedUp = Literal["waits", "granted", "asks"]
#: Runs of one generation of a delivery: those of the next have higher numbers.
_RUNS = 1_000_000


class Gatekeeper:
    """Admits the runs of one system.

    insist: repeats an action until its server answers. has_letter: whether a delivery is a dead letter.
    """

    def __init__(
        self,
        coordination: Coordination,
        turns: Turns,
        event_map: EventMap,
        insist: Callable[[Callable[[], Any]], Any],
        has_letter: Callable[[str], bool],
    ) -> None:
        self._has_letter = has_letter
        self._paused = PausedHandlers(coordination)
        self._turns = turns
        self._admission = turns.admission
        self._map = event_map
        self._insist: Callable[[Callable[[], Any]], Any] = insist
        self._leases = Leases(turns.admission)
        self.early = Early(turns.admission, self._leases.release_soon)
        self._emptied = EmptiedWatch()
        #: Whether others wait here for the slot of a run that ends. Set by who knows the pool.
        self.others_wait: Callable[[], bool] = lambda: False
        self._crowded = Crowded()
        #: What may run at once of a handler's deliveries, whatever their keys.
        self._most = {name: most for name, spec in event_map.names.items() if (most := _most(spec)) is not None}
        self._instead = {name for name, spec in event_map.names.items() if _runs_instead(spec)}
        self.hand_over = HandOver(self)
        turns.left_by_us = self.hand_over.take
        turns.admission.room = self.hand_over.room

    def admit(self, run: Run) -> Outcome | None:
        """None if the run may begin now; it holds its gates then, and `dismiss` must follow."""
        assert run.spec is not None
        assert run.event is not None
        assert run.envelope is not None
        spec = run.spec
        grant = run.headers.get(GRANT_HEADER)
        if self.hand_over.begun(run):
            return None
        answer = self.early.answer(run)
        if answer is None:
            try:
                if not self.find_gates(run) and grant is None:
                    return None
            except Exception as error:  # a key of the application's
                failure = redacted(error, run.envelope)
                return after_failure(error, failure, spec.retry, attempt=run.attempt, starts=run.starts)
            answer = self._ask(run, spec)
        if isinstance(answer, Blocked):
            if answer.gate.startswith("breaker:") and _runs_instead(spec):
                run.instead = True
                return None
            self._crowded.add(answer.gate, spec.name)
            answer = self._insist(lambda: self._park(run))
        if isinstance(answer, Go):
            self._begin(run, answer, granted=grant is not None)
            return None
        return outcomes.Parked() if isinstance(answer, Parked) else Settled()

    def _ask(self, run: Run, spec: HandlerSpec) -> Answer:
        run.gates = run.gates or [f"pause:{spec.name}|"]
        run.member = self.member_of(run) or run.task_id
        at_once = not _token(run) and not _runs_instead(spec) and self._crowded.any(run.gates)
        ask = self._park if at_once else self._acquire
        answer: Answer = self._insist(lambda: ask(run))
        return answer

    def _ask_early(self, release: list[Any]) -> bool:
        """Let the question for the run that comes next take this release along. Whether it does."""
        if self.early.ahead is None:
            return False
        correlation = correlating.set(None)
        try:
            run = self.early.upcoming()
            if run is None or not self._read(run) or self._crowded.any(run.gates):
                return False
            if _is_recorded(run) and not _token(run):
                return False  # should it not begin, its place in the order would be kept for a message that is gone
            return self.early.ask(run, self._acquiring(run), release)
        except Exception:  # whatever is wrong with the next one: it will tell, and this one has ended well
            return False
        except BaseException:  # its key ends the process
            self._leases.release_soon(release)
            raise
        finally:
            correlating.reset(correlation)

    def known(self, task_id: str, headers: dict[str, Any]) -> Run | None:
        """The run of a message with these headers, if it has been read before: asked for early, or taken over."""
        return self.early.asked(headers) or self.hand_over.received(task_id, headers)

    def is_limited(self, handler: str, headers: dict[str, Any]) -> bool:
        """Whether a delivery must ask before it runs, as far as can be told before its event is read."""
        spec = self._map.find(handler)
        return GRANT_HEADER in headers or (spec is not None and has_gates(spec))

    def find_gates(self, run: Run) -> bool:
        """Whether the run must pass any. Raises whatever a key function of the application's raises."""
        assert run.spec is not None
        assert run.event is not None
        paused = run.spec.name in self._paused
        group = None if run.generation else run.headers.get("events-group")
        if not paused and group is None and not has_gates(run.spec) and MEMBER_HEADER not in run.headers:
            return False
        run.gates, run.lease_ms = passage(run.spec, run.event, group=group, paused=paused)
        return True

    def begin_granted(self, run: Run, grant: Grant) -> bool:
        """See `hand_over.Admission`."""
        correlation = correlating.set(None)  # it is read where another run ends
        try:
            known = self._read(run)
        finally:
            correlating.reset(correlation)
        if not known or {*run.gates} != {*grant.gates}:
            return False
        self._begin(run, Go(grant.token, grant.unfinished or 0), granted=True, first_lease=FIRST_LEASE)
        return True

    def pass_on(self, grants: Sequence[Grant]) -> list[bool]:
        """See `hand_over.Admission`."""
        try:
            return self._admission.call_many([["pass_on", grant.member, grant.token] for grant in grants])
        except redis.RedisError as error:
            logger.warning("%d deliveries whose turn it is wait until their leases end: %s", len(grants), error)
            return [False] * len(grants)

    def _acquiring(self, run: Run) -> list[Any]:
        return ["acquire", run.member, _number(run), run.gates, run.lease_ms, _token(run)]

    def _read(self, run: Run) -> bool:
        """Whether its handler and its gates are known here."""
        try:
            run.spec = self._map.find(run.task)
            run.envelope = Envelope.parse(run.payload)
            run.event = run.envelope.event()
            run.member = self.member_of(run) or run.task_id
            return run.spec is not None and self.find_gates(run)
        except Exception:  # whatever it is: who runs it will tell
            return False

    def is_crowded(self, handler: str, number: int) -> bool:
        """Whether deliveries to the handler were blocked a moment ago, or so many are more than may run at once.

        Never, where an open breaker does not make them wait: their fallback runs.
        """
        if handler in self._instead:
            return False
        return number > self._most.get(handler, number) or self._crowded.handler(handler)

    def line_up(self, runs: Iterable[Run]) -> list[LinedUp]:
        """Park first runs, all in one step; those that nothing blocks are granted in it."""
        asking = [self._lining_up(run) if self._may_park(run) else None for run in runs]
        replies = iter(self._insist(lambda: self._admission.call_many([one for one in asking if one is not None])))
        return ["asks" if one is None else next(replies) for one in asking]

    def _may_park(self, run: Run) -> bool:
        """Whether it waits where it is blocked."""
        if not self._read(run):
            return False
        return run.spec is not None and not _runs_instead(run.spec)

    def _lining_up(self, run: Run) -> list[Any]:
        message = self._turns.stored(run.waiting_message())
        return ["line_up", run.task_id, _number(run), run.gates, message]

    def _acquire(self, run: Run) -> Answer:
        try:
            return answer_of(self._admission.call(self._acquiring(run)))
        except Undeclared:
            self.declare()
            return answer_of(self._admission.call(self._acquiring(run)))

    def flush(self) -> None:
        """The process ends: nothing of what it gave back, or took over and has not begun, waits any more."""
        self.early.close()
        left = self.hand_over.leave()
        for run in left:
            self.abandon(run)
        try:
            self._admission.call_many([["relinquish", run.member, run.token, run.gates] for run in left])
        except redis.RedisError:
            pass  # their leases end
        self._leases.flush()

    def _park(self, run: Run) -> Answer:
        message = self._turns.stored(run.waiting_message())
        return self._admission.park(run.member, _number(run), run.gates, run.lease_ms, message)

    def declare(self) -> None:
        """Tell Redis what this code's gates are."""
        defined = definitions(self._map.handlers)
        if defined:
            self._admission.call(["declare", defined])

    def sweep(self) -> float:
        """Let Redis take back leases that ended and grant what has become free; seconds until it should again."""
        (wait, parked), epoch = self._admission.call_many([["sweep"], ["epoch"]])
        self._emptied.look(epoch, parked)
        return 60.0 if wait < 0 else max(wait / 1000, 0.005)

    def _begin(self, run: Run, go: Go, *, granted: bool, first_lease: int | None = None) -> None:
        run.token = go.token
        run.lease = self._leases.add(run.member, go.token, run.gates, run.lease_ms, first_lease)
        run.granted = granted
        run.recorded = _is_recorded(run)
        if run.recorded:
            run.remember()
        if go.unfinished:
            run.redelivered = True
            run.in_vain = max(run.in_vain, go.unfinished)

    def dismiss(self, run: Run, outcome: Outcome) -> None:
        """Give back what the run holds, now that its outcome is settled."""
        if run.instead:  # of the gates it has none, but its group may count it
            self._insist(lambda: self._admission.call(["settle", run.member, run.gates, _result(outcome)]))
        if run.lease is None:
            return
        self._leases.drop(run.lease)
        failed = 0 if run.failed is None or isinstance(outcome, Busy | Settled) else run.failed
        operation = ["release", run.member, _number(run), run.token, run.gates, self._result(run, outcome), failed]
        done = run.granted and isinstance(outcome, Done)
        if not done and (run.granted or run.recorded or isinstance(outcome, Busy)):
            # Redis must hear it before the message is acknowledged: what was settled would be run once more, and an
            # order be kept for ever
            self._insist(lambda: self._admission.call(operation))
        elif not self._ask_early(operation):
            # Should it get lost, its lease ends, and what is parked here is run again. A place that was granted has
            # others waiting for it: it goes at once, unless what this process has received takes it along in a moment.
            at_once = done and not self.others_wait()
            if not (at_once and self.hand_over.host is not None and self._release_now(operation)):
                self._leases.release_soon(operation, at_once=at_once)

    def _release_now(self, operation: list[Any]) -> bool:
        """Release from the slot that the run had, which nobody waits for: who comes next begins sooner."""
        try:
            with self.hand_over.ending():
                self._admission.call(operation)
            return True
        except redis.RedisError:
            pass
        except Exception:  # of what was granted by it, or of who shared its round trip; this run has ended well
            logger.exception("what was granted when a run ended, if anything was, waits until its lease ends")
        return False  # or carried out: then it does nothing the second time

    def _result(self, run: Run, outcome: Outcome) -> str:
        result = _result(outcome)
        holds = result == "dead" and run.spec is not None and run.spec.on_dead == "hold"
        if holds and isinstance(outcome, Settled) and not self._insist(lambda: self._has_letter(run.task_id)):
            return "done"  # its letter was redriven, or discarded: nobody could end the hold
        return result

    def abandon(self, run: Run) -> None:
        """The run ended by a fault of the worker's own: what it holds comes back when its lease ends."""
        if run.lease is not None:
            self._leases.drop(run.lease)

    def turn_away(self, run: Run, outcome: Outcome) -> None:
        """The run has ended before it was admitted: what was granted to it, or kept for it, is given back."""
        if self.hand_over.begun(run):
            self.abandon(run)
        if isinstance(outcome, outcomes.Parked | Settled):
            return
        member = self.member_of(run)
        grant = run.headers.get(GRANT_HEADER)
        if member is not None and isinstance(grant, int):
            operation = ["release", member, _number(run), grant, [], _result(outcome), False]
            self._insist(lambda: self._admission.call(operation))
        elif member is not None and isinstance(outcome, Dead) and not (run.first and "events-group" not in run.headers):
            self._insist(lambda: self._admission.call(["forgo", member]))

    def drop(self, run: Run) -> None:
        """Its message was none that Celery can read, and is kept as it is. What was granted to it is given back."""
        self.hand_over.give_up(run.task_id)
        member = self.member_of(run)
        if member is not None and (token := _token(run)):
            operation = ["release", member, _number(run), token, [], "cancelled", 0]
            self._insist(lambda: self._admission.call(operation))

    def member_of(self, run: Run) -> str | None:
        """How its gates know the delivery, whatever its generation; None where its handler is not known here."""
        known = run.headers.get(MEMBER_HEADER)
        if isinstance(known, str):
            return known
        if not run.generation:
            return run.task_id
        spec = self._map.find(run.task)
        payload_id = run.payload.get("id") if isinstance(run.payload, dict) else None
        try:
            return None if spec is None else delivery_id(UUID(payload_id), spec.name)
        except (ValueError, TypeError, AttributeError):
            return None

    def bury(self, run: Run) -> None:
        """The run will not be: it was revoked, or has expired. What it holds or waits for is given up."""
        self.hand_over.give_up(run.task_id)
        member = self.member_of(run)
        if member is not None:
            self._read(run)  # its gates, if it can be read
            self._insist(lambda: self._admission.call(["settle", member, run.gates, "dead"]))

    def let_go(self, members: Sequence[str]) -> None:
        """Deliveries, as their gates know them, that will not be redriven: what waited behind them goes on."""
        if members:
            self._admission.call_many([["let_go", member] for member in members])


def _most(spec: HandlerSpec) -> int | None:
    return min((limit.max for limit in spec.limits if isinstance(limit, Limit) and limit.key is None), default=None)


def _runs_instead(spec: HandlerSpec) -> bool:
    """Whether its fallback runs while the breaker is open."""
    return spec.fallback is not None and spec.fallback_on != "exhausted"


def _is_recorded(run: Run) -> bool:
    """Whether Redis knows of it from the moment that it asks, as it does else of what was parked."""
    return any(gate.startswith(("order:", "group:")) for gate in run.gates)


def _token(run: Run) -> int:
    grant = run.headers.get(GRANT_HEADER)
    return grant if isinstance(grant, int) else 0


def _number(run: Run) -> int:
    return run.generation * _RUNS + run.number


def _result(outcome: Outcome) -> str:
    if isinstance(outcome, Settled):
        return outcome.how or "done"
    if isinstance(outcome, Done):
        return "done"
    if isinstance(outcome, Busy):
        return "busy"
    return "dead" if isinstance(outcome, Dead) else "retry"
