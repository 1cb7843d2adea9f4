"""The nursery: a process with the application loaded and no threads, which forks a warden for each suspect's run.

``python -m events_worker.isolation.nursery MODULE SYSTEM FD SECONDS``, started by `Isolation`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from events_core import EventSystem
from events_core.system import systems
from events_worker.isolation import warden, wire

#: Seconds without a suspect after which the nursery ends, and gives its memory back.
_IDLE = 60.0


def main(module: str, name: str, fd: int, load_within: float) -> None:
    """Serve until the worker is gone, nothing has come for a while, or loading has taken `load_within` seconds."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens are not waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=fd)
    control.settimeout(_IDLE)
    signal.setitimer(signal.ITIMER_REAL, load_within)  # an import that hangs sees no worker go: the signal ends it
    system, failure = _load(module, name)
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        try:
            word, fds, _, _ = socket.recv_fds(control, 1, 1)
        except (TimeoutError, OSError):
            return
        if not word:
            return
        with socket.socket(fileno=fds[0]) as connection:
            if system is None:
                with contextlib.suppress(OSError):  # the worker waited no longer
                    wire.send(connection, {"failed": failure})
            elif os.fork() == 0:
                control.close()
                _serve(system, connection)


def _load(module: str, name: str) -> tuple[EventSystem | None, str]:
    try:
        importlib.import_module(module)
        for system in systems:
            if system.name == name:
                system.load()
                system.celery.loader.import_default_modules()
                return system, ""
    except Exception as error:
        traceback.print_exc()
        return None, f"{module} cannot be imported alone: {type(error).__name__}: {error}"
    return None, f"importing {module} makes no EventSystem {name!r}: make it when the module is imported"


def _serve(system: EventSystem, connection: socket.socket) -> NoReturn:
    try:
        warden.watch(system, connection)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
