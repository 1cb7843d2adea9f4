"""Processes that tests start: each in a group of its own, its output in a file, ended by id when the test ends."""

from __future__ import annotations

import atexit
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import forking
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TAIL = 4000  # characters of a log that an error shows
READY = r"\bready\.\s*$"

_started: list[Process] = []
_lasting: list[Process] = []  # servers that many tests share
_numbers = itertools.count(1)


class Process:
    """A running program with its process group and its log."""

    def __init__(
        self, args: Sequence[str | Path], *, name: str, log: Path, env: Mapping[str, str], cwd: str | Path
    ) -> None:
        """Starts it.

        Args:
            args: the command line.
            name: what errors call it.
            log: file that receives stdout and stderr; appended to.
            env: the whole environment of the program.
            cwd: its working directory.
        """
        self.name, self.log_path = name, log
        command = [str(part) for part in args]
        with log.open("ab") as output, open(os.devnull) as nothing:
            streams = [nothing.fileno(), output.fileno(), output.fileno()]
            self._popen = forking.fork(command, env, cwd, streams, USUAL) or subprocess.Popen(
                command, stdin=nothing, stdout=output, stderr=output, env=env, cwd=cwd, start_new_session=True
            )
        _started.append(self)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Waits until its output matches the regular expression (multiline), and returns the match.

        Raises:
            AssertionError: it did not within `timeout` seconds, or the process ended first; shows the log's end.
        """

        def look() -> re.Match[str] | bool | None:
            alive = self.alive  # before reading: what a process prints last is still seen
            return re.search(pattern, self.log, re.MULTILINE) or (not alive)

        try:
            seen = wait_until(look, timeout, f"/{pattern}/ in the output of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._tail()}") from None
        if isinstance(seen, re.Match):
            return seen
        raise AssertionError(f"{self.name} ended ({self.exit_code}) before it printed /{pattern}/\n{self._tail()}")

    def wait(self, timeout: float = 30.0) -> int:
        """Waits for its end and returns its exit code; AssertionError after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout:g} s\n{self._tail()}") from None

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM to the process itself, as a supervisor does, and waits for its end."""
        if self.alive:
            self._popen.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself."""
        self._popen.send_signal(number)

    def kill9(self) -> None:
        """SIGKILL to the process and all children in its group; returns when it is gone."""
        try:
            os.killpg(self.pid, signal.SIGKILL)  # the group outlives its leader while a child is left
        except ProcessLookupError:
            pass
        self._popen.wait()

    def _tail(self) -> str:
        return f"--- end of the output of {self.name} ({self.log_path})\n{self.log[-TAIL:]}"


def child_env(env: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The environment for a child: ours without EVENTS_* settings, this project importable, `env` on top.

    Args:
        env: variables to set; None as a value removes one.
    """
    whole: dict[str, str | None] = {key: value for key, value in os.environ.items() if not key.startswith("EVENTS_")}
    whole["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), whole.get("PYTHONPATH"))))
    whole["PYTHONUNBUFFERED"] = "1"
    whole |= env or {}
    return {key: value for key, value in whole.items() if value is not None}


#: What children have in common, taken before a test changes a variable.
USUAL = child_env()


def start(
    args: Sequence[str | Path],
    *,
    name: str | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | Path = ROOT,
) -> Process:
    """Starts a program; it is killed when the test ends. `cwd` becomes importable for Python programs."""
    number = next(_numbers)
    log = Path(tempfile.gettempdir()) / f"events-test-{os.getpid()}-{number}.log"
    # A program started as a script has its folder on sys.path, not the working directory.
    path = os.pathsep.join(filter(None, (str(cwd), (env or {}).get("PYTHONPATH"))))
    whole = child_env(env)
    whole["PYTHONPATH"] = os.pathsep.join((path, whole["PYTHONPATH"]))
    return Process(args, name=name or f"{Path(str(args[0])).name}-{number}", log=log, env=whole, cwd=cwd)


def start_python(
    *args: str | Path, env: Mapping[str, str | None] | None = None, cwd: str | Path = ROOT, name: str | None = None
) -> Process:
    """Starts this Python with the arguments, such as `"-m", "module"` or `"-c", code`."""
    return start([sys.executable, *args], name=name or f"python {' '.join(map(str, args))[:60]}", env=env, cwd=cwd)


def start_worker(
    app: str,
    *,
    pool: str = "threads",
    concurrency: int = 4,
    queues: Sequence[str] | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | Path = ROOT,
    extra: Sequence[str] = (),
    ready: bool = True,
    timeout: float = 60.0,
) -> Process:
    """Starts `events worker -A app` and waits until it takes deliveries.

    Args:
        app: module and EventSystem, `"pkg.mod:events"`.
        pool: Celery's pool: threads, prefork, solo.
        concurrency: handlers that run at once.
        queues: None: those that the system's handlers name.
        env: variables for it, such as EVENTS_BROKER_URL; None as a value removes one.
        cwd: its working directory, importable.
        extra: more arguments of the command line.
        ready: False: do not wait for Celery's "ready.".
        timeout: seconds to wait for it.
    """
    number = next(_numbers)
    args = ["-m", "events_worker.cli", "worker", "-A", app, "-P", pool, "-c", str(concurrency), "-l", "INFO"]
    # A node name of its own, since two workers of one name disturb each other's control messages. Without gossip
    # and mingle, which cost a second at start, nothing that a delivery goes through differs.
    args += ["-n", f"w{number}-{os.getpid()}@%h", "--without-gossip", "--without-mingle"]
    if queues is not None:
        args += ["-Q", ",".join(queues)]
    worker = start_python(*args, *extra, env=env, cwd=cwd, name=f"worker {number} of {app} ({pool})")
    if ready:
        worker.wait_for_log(READY, timeout)
    return worker


def started_so_far() -> int:
    """A mark for `end_since`."""
    return len(_started)


def end_since(mark: int = 0) -> None:
    """Kills what was started after the mark, and removes its log."""
    for process in _started[mark:]:
        process.kill9()
        process.log_path.unlink(missing_ok=True)
    del _started[mark:]


def keep_since(mark: int) -> None:
    """What was started after the mark outlives the test that happens to be running."""
    _lasting.extend(_started[mark:])
    del _started[mark:]


def _end_all_of(owner: int) -> None:
    if os.getpid() == owner:  # a test may fork: its child must not end our servers
        keep_since(0)
        for process in _lasting:
            process.kill9()
            process.log_path.unlink(missing_ok=True)


atexit.register(_end_all_of, os.getpid())
