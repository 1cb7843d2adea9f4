"""Which commands of a test are forked from a server (tests/support/forkserver.py), and what such a fork can do.

A test must mean the same with it: what might import anything else than the server has is a new process.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SWITCH = "EVENTS_TEST_FORK"  # 0: every command is a new process
SERVER = Path(__file__).with_name("forkserver.py")
SEE = "; pytest -s shows what it printed"
MESSAGE = 1 << 20  # bytes, at most
COMMANDS = (
    ("-m", "events_worker.cli"),
    # Not for other apps: when they import events_core, which the server has done, is part of what is tested.
    ("-m", "celery", "-A", "events_worker"),
)
#: Variables that no module reads while it is imported.
READ_LATE = ("EVENTS_", "TEST_", "SHOP_", "PYTEST_", "PYTHONPATH")

#: Whether the running test allows it: set by tests/support/fixtures.py.
allowed = False


class Forked:
    """As much of `subprocess.Popen` as the tests use."""

    def __init__(self, args: Sequence[str], pid: int, connection: socket.socket) -> None:
        self.args, self.pid, self._connection = args, pid, connection

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(None if timeout is None else max(timeout, 0) * 1000):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        said = self._connection.recv(MESSAGE, socket.MSG_PEEK)  # it stays there for the next look
        if not said:
            raise RuntimeError(f"the fork server ended before {self.args}{SEE}")
        return int(said)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Server:
    """The fork server of this process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Starts it. env: what every child of the tests has in its environment."""
        self.owner, self._env = os.getpid(), env
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, str(SERVER), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=env, pass_fds=[theirs.fileno()], start_new_session=True
            )
        atexit.register(self._close)
        imported = self._control.recv(MESSAGE)
        if not imported:
            raise RuntimeError(f"the fork server did not start{SEE}")
        self._names = {"sitecustomize", "usercustomize", *json.loads(imported)}

    def fits(self, env: Mapping[str, str], cwd: str) -> bool:
        """Whether a new process would import what the server has."""
        ours, theirs = _paths(self._env), _paths(env)
        if _read_early(env) != _read_early(self._env) or not ours <= theirs or not all(map(os.path.isabs, theirs)):
            return False
        others = filter(os.path.isdir, (theirs | {cwd}) - ours)
        return self._names.isdisjoint(name.partition(".")[0] for path in others for name in os.listdir(path))

    def fork(self, args: Sequence[str], env: Mapping[str, str], cwd: str, streams: Sequence[int]) -> Forked:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps({"argv": args, "env": env, "cwd": cwd}).encode()
            socket.send_fds(self._control, [request], [*streams, theirs.fileno()])
        pid = ours.recv(MESSAGE)
        if int(pid or 0) <= 0:
            raise RuntimeError(f"the fork server could not fork {args}{SEE}")
        return Forked(args, int(pid), ours)

    def _close(self) -> None:
        if self.owner == os.getpid():
            self._control.shutdown(socket.SHUT_RDWR)  # close() leaves it open where a test has forked
            self._process.wait()


_server: Server | None = None
_lock = threading.Lock()


def fork(
    args: Sequence[str], env: Mapping[str, str], cwd: str | Path, streams: Sequence[int], usual: Mapping[str, str]
) -> Forked | None:
    """A fork that runs a command; None where it has to be a new process.

    Args:
        args: the command line.
        env: its whole environment.
        cwd: its working directory.
        streams: what will be its stdin, stdout and stderr.
        usual: the environment that all children have, from which `env` may differ in READ_LATE only.
    """
    global _server  # one per process: a test's fork cannot share its parent's
    known = args[0] == sys.executable and any(tuple(args[1 : 1 + len(start)]) == start for start in COMMANDS)
    if not (allowed and known and hasattr(os, "pidfd_open")) or os.environ.get(SWITCH) == "0":
        return None
    with _lock:
        if _server is None or _server.owner != os.getpid():
            _server = Server(usual)
    folder = os.path.abspath(cwd)
    return _server.fork(args, env, folder, streams) if _server.fits(env, folder) else None


def _paths(env: Mapping[str, str]) -> set[str]:
    return set(env.get("PYTHONPATH", "").split(os.pathsep))


def _read_early(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(READ_LATE)}
