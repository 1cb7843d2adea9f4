"""Runs `python -m events_worker.cli` and `python -m celery` for tests without the second that their imports take.

A program of its own, which tests/support/forking.py starts: one thread, everything heavy imported, nothing else done.
Each request makes a fork that goes on as that command would. Requests and answers are messages of SEQPACKET sockets.
A request is JSON (argv, env, cwd) with four descriptors: stdin, stdout, stderr, and a socket for the answers: the fork
says its pid once it leads a group of its own, the server its exit code. The end of file on the server's own socket,
which comes however the tests end, ends the server with all that it has forked.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from typing import Any

# What the two commands import late or by name, in the parts that all tests have in common. Not events_worker.app: it
# installs what there is when it is imported, so that moment has to stay where it is.
MODULES = """
events_worker.cli.main events_worker.clock events_worker.intake events_worker.tasks.requests
celery.__main__ celery.apps.worker celery.app.builtins celery.app.control celery.app.events celery.app.log
celery.backends.redis celery.concurrency.prefork celery.concurrency.solo celery.concurrency.thread celery.fixups.django
celery.loaders.app celery.loaders.default celery.worker.autoscale celery.worker.components celery.worker.control
celery.worker.consumer.delayed_delivery kombu.matcher kombu.pidbox kombu.transport.pyamqp kombu.transport.redis
rich.progress
"""


class Server:
    """Its socket, and what it has forked."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, tuple[int, socket.socket]] = {}  # by pidfd: the pid, and who asks
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any]:
        """Forks for each request. Returns in the forks only, with the request."""
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._running:
                    self._reap(key.fd)
                elif (request := self._answer()) is not None:
                    return request

    def _answer(self) -> dict[str, Any] | None:
        message, descriptors, _, _ = socket.recv_fds(self._control, 1 << 20, 4)
        if not message:
            self._end()
        *streams, number = descriptors
        asker = socket.socket(fileno=number)
        pid = os.fork()
        if pid == 0:
            return self._become(json.loads(message), streams, asker)
        watched = os.pidfd_open(pid)
        self._running[watched] = pid, asker
        self._selector.register(watched, selectors.EVENT_READ)
        for stream in streams:
            os.close(stream)
        return None

    def _become(self, request: dict[str, Any], streams: list[int], asker: socket.socket) -> dict[str, Any]:
        """In the fork: all that it has of the server's is closed, and what a new process would have put in place."""
        self._selector.close()
        self._control.close()
        for watched, (_, connection) in self._running.items():
            os.close(watched)
            connection.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        asker.send(str(os.getpid()).encode())
        asker.close()
        return request

    def _reap(self, watched: int) -> None:
        pid, asker = self._running.pop(watched)
        self._selector.unregister(watched)
        os.close(watched)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            asker.send(str(code).encode())
        except BrokenPipeError:  # nobody asks any more
            pass
        asker.close()

    def _end(self) -> None:
        for watched, (pid, _) in list(self._running.items()):
            os.kill(pid, signal.SIGKILL)
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it was no leader yet
                pass
            self._reap(watched)
        os._exit(0)  # what imports have registered for the end is for the forks


def main() -> None:
    """The server; in each fork the program, to its very end."""
    inherited = os.environ["PYTHONPATH"].split(os.pathsep)
    installed = [path for path in sys.path[1:] if path not in inherited]  # the first is the folder of this file
    sys.path[:] = [*inherited, *installed]
    for name in MODULES.split():
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:  # of Python or of a library
        raise RuntimeError("an import has started a thread, which no fork would have: tests cannot be forked")
    control = socket.socket(fileno=int(sys.argv[1]))
    control.send(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})).encode())
    gc.collect()
    gc.freeze()  # else the first collection of a fork writes to every page, and so copies it
    request = Server(control).serve()
    # As `python -m` has it: the working directory, PYTHONPATH without repetitions, this installation.
    sys.path[:] = [os.getcwd(), *dict.fromkeys(request["env"]["PYTHONPATH"].split(os.pathsep)), *installed]
    importlib.invalidate_caches()
    sys.orig_argv = request["argv"]
    _, _, module, *args = request["argv"]
    sys.argv = [module, *args]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
