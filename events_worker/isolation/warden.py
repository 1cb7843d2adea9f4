"""The warden: forks the process of one run, and tells the worker how it ended."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn
from uuid import uuid4

from events_core import EventSystem
from events_worker.isolation import wire
from events_worker.parts import parts_of
from events_worker.run import Run

#: Milliseconds between two looks at the run's process.
_GLANCE = 20


def watch(system: EventSystem, connection: socket.socket) -> None:
    """Run what the worker sends, in a process of its own, until that or the worker ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    run = wire.unpack_run(wire.receive(connection))
    owner = uuid4().hex
    outcome = parts_of(system).execution.begin_alone(run, owner)
    if outcome is not None:
        wire.send(connection, wire.pack_outcome(outcome, settled=False))
        return
    try:
        wire.send(connection, {"begun": True})  # before the run can answer
    except OSError:  # the worker waited no longer
        parts_of(system).ledger.withdraw(run.task_id, run.number, owner)
        return
    child = os.fork()
    if child == 0:
        _run(system, run, connection)
    gone = select.poll()
    gone.register(connection, 0)  # a hang-up is always reported
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            _report(connection, os.waitstatus_to_exitcode(status))
            return
        if gone.poll(_GLANCE):
            _withdraw(system, run, child, owner)
            return


def _report(connection: socket.socket, status: int) -> None:
    try:
        wire.send(connection, {"status": status})
    except OSError:
        pass  # the run has answered, and the worker has closed


def _withdraw(system: EventSystem, run: Run, child: int, owner: str) -> None:
    """The worker is gone, or will wait no longer: end the run; its start does not count unless it has settled.

    Or unless it has just ended by itself: then it may well be what ended the worker before.
    """
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
        parts_of(system).ledger.withdraw(run.task_id, run.number, owner)


def _run(system: EventSystem, run: Run, connection: socket.socket) -> NoReturn:
    from events_worker.app import announce_process

    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        announce_process()
        outcome = parts_of(system).execution.execute(run)
        wire.send(connection, wire.pack_outcome(outcome, settled=True))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
