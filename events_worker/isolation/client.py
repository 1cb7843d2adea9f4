"""The worker's side: asks the nursery for a run and waits for its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from events_worker.isolation import wire
from events_worker.ledger import LEASE, Ledger
from events_worker.outcome import Dead, Outcome
from events_worker.run import Run

logger = logging.getLogger(__name__)

#: Seconds a run may take beyond its handler's timeout: loading the application, settling. Below HARD_LIMIT_GRACE.
_GRACE = 10.0
#: Seconds for a run to begin, loading the application included: an import may hang. A handler that Celery's hard limit
#: ends has `_GRACE` instead.
_BEGIN_WITHIN = 60.0
#: How often a run whose process could not be made, or was lost without a word, is tried again here.
_TRIES = 3


class _NoNursery(Exception):
    """The application cannot be loaded in a process of its own, or takes too long."""


class Isolation:
    """Runs suspects of one system in processes of their own.

    module, system: where the nursery finds the EventSystem: the module that makes it, and its name.
    """

    def __init__(self, module: str, system: str, ledger: Ledger) -> None:
        self._command = [sys.executable, "-m", "events_worker.isolation.nursery", module, system]
        self._ledger = ledger
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._control: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, run: Run) -> tuple[Outcome, bool] | None:
        """The outcome of the run, and whether it is settled; None if no process of its own can be had for it."""
        timeout = None if run.spec is None or run.spec.timeout is None else run.spec.timeout + _GRACE
        for _ in range(_TRIES):
            try:
                return self._attempt(run, timeout)
            except (EOFError, OSError) as error:
                # the nursery went while it was idle, or was killed: nothing is known of the run
                reason = repr(error)
            except _NoNursery as error:
                reason = str(error)
                break
        logger.error(
            "%s [%s] may have ended its process and should run in one of its own, but runs in the worker: %s",
            run.task, run.task_id, reason,
        )  # fmt: skip
        return None

    def _attempt(self, run: Run, timeout: float | None) -> tuple[Outcome, bool]:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._hand_over(theirs)
            answer = self._await_begin(ours, run)
            if "begun" in answer:
                answer = self._await_answer(ours, run, timeout)
        if "outcome" in answer:
            return wire.unpack_outcome(answer), bool(answer["settled"])
        return Dead("poison", f"the process of its own that it ran in ended: {_describe(answer['status'])}"), False

    def _await_begin(self, ours: socket.socket, run: Run) -> dict[str, Any]:
        """The first answer. Until then there is no claim to renew."""
        limited = run.spec is not None and run.spec.timeout is not None and not run.spec.is_async
        within = min(_GRACE, _BEGIN_WITHIN) if limited else _BEGIN_WITHIN
        ours.settimeout(within)
        try:
            wire.send(ours, wire.pack_run(run))
            answer: dict[str, Any] = wire.receive(ours)
        except TimeoutError:
            raise _NoNursery(f"loading the application there takes longer than {within:g} s") from None
        if "failed" in answer:
            raise _NoNursery(answer["failed"])
        return answer

    def _await_answer(self, ours: socket.socket, run: Run, timeout: float | None) -> dict[str, Any]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LEASE / 3 if end is None else min(LEASE / 3, end - time.monotonic())
            if left <= 0:
                return {"status": -signal.SIGXCPU}
            ours.settimeout(left)
            try:
                answer: dict[str, Any] = wire.receive(ours)
            except TimeoutError:
                self._renew(run)
            else:
                return answer

    def _renew(self, run: Run) -> None:
        try:
            self._ledger.renew(run.task_id)
        except Exception as error:  # the run goes on; another copy may start when the claim ends
            logger.warning("%s [%s]: cannot renew its claim: %s", run.task, run.task_id, error)

    def _hand_over(self, connection: socket.socket) -> None:
        with self._lock:
            if self._control is None:
                self._control = self._start()
            try:
                socket.send_fds(self._control, [b"r"], [connection.fileno()])
            except OSError:
                self._control.close()
                self._control = self._start()
                socket.send_fds(self._control, [b"r"], [connection.fileno()])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(_BEGIN_WITHIN)
        with theirs:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(_BEGIN_WITHIN)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C ends the worker; the nursery follows when the worker has finished
            )
        return ours


def _describe(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "hard time limit"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
