"""The worker's own pipeline, on parts in memory; and what a test is told of a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from kombu.utils import json as kombu_json

from events_core import EventSystem
from events_core.handlers import HandlerSpec
from events_core.publishing.messages import Message
from events_core.testing.recorder import Recorder, payload_of
from events_core.testing.results import Handled
from events_worker.execution import Execution
from events_worker.inline.dead_letters import InlineDeadLetters
from events_worker.inline.gatekeeper import InlineGatekeeper
from events_worker.inline.ledger import InlineLedger
from events_worker.inline.running import InlineRunner
from events_worker.inline.schedule import InlineSchedule
from events_worker.inline.watermarks import InlineWatermarks
from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Settled
from events_worker.run import Run
from events_worker.settlement import Settlement


class Pipeline:
    """Executes messages of one system."""

    def __init__(self, system: EventSystem, recorder: Recorder) -> None:
        self._system = system
        self._recorder = recorder
        self.runner = InlineRunner(system.container, system.middleware)

    def make(
        self,
        find: Callable[[str], HandlerSpec | None],
        ledger: InlineLedger,
        schedule: InlineSchedule,
        letters: InlineDeadLetters,
        gatekeeper: InlineGatekeeper,
    ) -> Execution:
        """An execution, as `events_worker.parts` makes it for a worker."""
        system, watermarks = self._system, InlineWatermarks()
        return Execution(
            find=lambda name: _without_jitter(find(name)),
            emitter=system.emitter,
            runner=self.runner,
            ledger=ledger,
            settlement=Settlement(ledger, schedule, letters, system.emitter.publish, watermarks),
            isolate=lambda run: None,
            max_hops=system.settings.max_hops,
            unknown_grace=system.settings.unknown_grace,
            gatekeeper=gatekeeper,
            watermarks=watermarks,
        )

    def execute(self, execution: Execution, message: Message) -> tuple[Run, Outcome, Handled]:
        """One run, with headers and payload as they come from a broker: through JSON.

        Raises what is meant to end the test.
        """
        headers = json.loads(json.dumps(message.headers))
        name, task_id, queue = message.delivery
        run = Run.of(task_id, name, queue, headers, payload_of(message), redelivered=False)
        sent, runner = len(self._recorder.events), self.runner
        runner.forget()
        outcome = execution.execute(run)
        if runner.error is not None and _ends_the_test(runner.error):
            raise runner.error
        handled = Handled(
            handler=name,
            event=run.event or self._recorder.event_of(message),
            outcome=_word(outcome),
            attempt=run.attempt,
            returned=runner.returned,
            error=runner.error,
            emitted=self._recorder.events[sent:],
            again_in=outcome.seconds if isinstance(outcome, Delayed | Held | Busy) else None,
        )
        return run, outcome, handled

    def run_task(self, message: Message, spec: HandlerSpec) -> Handled:
        """A Celery task of the application's: by Celery itself, as `task_always_eager` does."""
        args = kombu_json.loads(message.body.decode())[0]
        sent = len(self._recorder.events)
        result = spec.target.apply(args=args, task_id=message.delivery.task_id)
        failed = result.failed()
        return Handled(
            handler=spec.name,
            event=self._recorder.event_of(message),
            outcome="failed" if failed else "done",
            returned=None if failed else result.result,
            error=result.result if failed else None,
            emitted=self._recorder.events[sent:],
        )


def _without_jitter(spec: HandlerSpec | None) -> HandlerSpec | None:
    """So that a test knows when a retry is due: at the end of the longest delay."""
    if spec is None or spec.retry is None or not spec.retry.jitter:
        return spec
    return replace(spec, retry=replace(spec.retry, jitter=False))


def _ends_the_test(error: BaseException) -> bool:
    """Ctrl-C, pytest.fail(), a test that is out of time: to a worker each is a failed attempt, here it is meant."""
    return not isinstance(error, Exception | SystemExit | GeneratorExit | asyncio.CancelledError)


def _word(outcome: Outcome) -> Literal["done", "retry", "dead", "waits", "settled"]:
    match outcome:
        case Done():
            return "done"
        case Dead():
            return "dead"
        case Settled():
            return "settled"
        case Delayed() | Held() | Busy():
            return "retry"
    return "waits"
