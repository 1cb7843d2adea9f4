"""A command that the fork server runs finds what a new process of it would find: else no test could rest on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking, processes
from tests.support.commands import run_python
from tests.support.waiting import wait_until

# What it is asked for is in an application's module, as everything that a test changes.
PROBE = """
import atexit, gc, json, locale, os, random, resource, signal, sys, threading, time, uuid
import uuid_utils

main = sys.modules["__main__"]
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "path": sys.path, "argv": sys.argv, "orig_argv": sys.orig_argv, "cwd": os.getcwd(), "environ": dict(os.environ),
    "prefixes": [sys.executable, sys.prefix], "flags": repr(sys.flags), "warnings": sys.warnoptions,
    "main": [main.__name__, main.__spec__.name, main.__file__, main.__package__],
    "finders": [repr(finder).split(" object")[0] for finder in sys.meta_path], "hooks": len(sys.path_hooks),
    "streams": [[s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.mode, s.name] for s in streams],
    "buffers": [type(s.buffer).__name__ for s in streams], "typed": sys.stdin.read(),
    "open": sorted(os.listdir("/proc/self/fd"))[:-1], "umask": os.umask(0o22), "zone": time.tzname,
    "locale": locale.setlocale(locale.LC_ALL), "limits": [resource.getrlimit(n) for n in range(16)],
    "leads": [os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid()], "niceness": os.nice(0),
    "signals": {int(n): str(signal.getsignal(n)) for n in signal.valid_signals() if n != signal.SIGINT},
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "threads": threading.active_count(),
    "tasks": len(os.listdir("/proc/self/task")), "collects": [gc.isenabled(), gc.get_threshold()],
    "once": [str(uuid.uuid4()), str(uuid_utils.uuid7()), random.random(), os.getpid()],
}))
print("said on stderr", file=sys.stderr)
if "EVENTS_TEST_EXIT" in os.environ:
    atexit.register(print, "said at the end")
    threading.Thread(target=lambda: (threading.main_thread().join(), print("said by a thread"))).start()
    raise SystemExit(int(os.environ["EVENTS_TEST_EXIT"]))
if "EVENTS_TEST_STAY" in os.environ:
    line = f"pid {os.getpid()}" if os.fork() else f"child {os.getpid()}"
    os.write(1, (line + "\\n").encode())  # print() may write the end of a line by itself, behind what the other says
    signal.pause()
"""
COMMAND = ("-m", "events_worker.cli", "map", "-A", "probe")

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the fork server is for Linux")


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(forking.SWITCH, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def probe(folder: Path, **env: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """What the module finds, and the run."""
    ran = run_python(*COMMAND, env=processes.child_env(env), cwd=folder, said="typed\n")
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout.splitlines()[0]), ran


def is_fork(pid: int) -> bool:
    return "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_finds_what_a_new_process_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forked, again = probe(folder)[0], probe(folder)[0]
    monkeypatch.setattr(forking, "allowed", False)
    new = probe(folder)[0]
    new["leads"] = [True, True]  # only what `processes.start` starts anew leads a group
    assert all(mine != other for mine, other in zip(forked.pop("once"), again.pop("once"), strict=True))
    del new["once"]
    assert forked == new
    assert forked == again


def test_it_ends_as_a_new_process_does(folder: Path) -> None:
    """Threads are waited for, then comes what was registered for the end, and the exit code is its own."""
    ran = probe(folder, EVENTS_TEST_EXIT="7")[1]
    assert (ran.returncode, ran.stderr) == (7, "said on stderr\n")
    assert ran.stdout.splitlines()[1:] == ["said by a thread", "said at the end"]


def test_a_signal_that_ends_it_is_its_exit_code_and_its_children_die_with_kill9(folder: Path) -> None:
    command = processes.start_python(*COMMAND, env={"EVENTS_TEST_STAY": "1"}, cwd=folder)
    assert int(command.wait_for_log(r"^pid (\d+)")[1]) == command.pid
    assert is_fork(command.pid)
    child = int(command.wait_for_log(r"^child (\d+)")[1])
    assert (command.alive, command.exit_code) == (True, None)
    assert command.terminate() == command.exit_code == -signal.SIGTERM
    assert not has_ended(child)
    command.kill9()
    wait_until(lambda: has_ended(child), what="the child to be gone")


def test_it_dies_with_the_process_that_asked_for_it(folder: Path) -> None:
    """However that ends: neither the server nor what it has forked is left."""
    code = (
        "import signal; from tests.support import forking, processes; forking.allowed = True\n"
        f"command = processes.start_python(*{COMMAND}, env={{'EVENTS_TEST_STAY': '1'}}, cwd={str(folder)!r})\n"
        "for what in ('pid', 'child'): print(command.wait_for_log(rf'^{what} \\d+')[0], flush=True)\n"
        "print('server', forking._server._process.pid, flush=True); signal.pause()"
    )
    owner = processes.start_python("-c", code)
    pids = [int(owner.wait_for_log(rf"^{what} (\d+)")[1]) for what in ("server", "pid", "child")]
    assert all(is_fork(pid) for pid in pids)
    owner.signal(signal.SIGKILL)
    wait_until(lambda: all(has_ended(pid) for pid in pids), what=f"{pids} to be gone")


@pytest.mark.parametrize(
    "env, module, makes_a_fork",
    [
        ({}, "", True),
        ({"PYTHONHASHSEED": "1"}, "", False),
        ({"CELERY_TRACE_APP": "1"}, "", False),
        ({"FORKED_BY_MULTIPROCESSING": "1"}, "", False),
        ({"PYTHONPATH": None}, "", False),
        ({}, "click.py", False),
        ({}, "sitecustomize.py", False),
    ],
)
def test_what_might_import_something_else_is_a_new_process(
    folder: Path, env: dict[str, str | None], module: str, makes_a_fork: bool
) -> None:
    if module:
        (folder / module).touch()
    whole = {key: value for key, value in {**processes.child_env(), **env}.items() if value is not None}
    assert is_forked(folder, whole) is makes_a_fork


def test_the_switch_turns_it_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(forking.SWITCH, "0")
    assert not is_forked(folder, processes.child_env())


def is_forked(folder: Path, env: dict[str, str]) -> bool:
    with open(os.devnull, "r+") as nothing:
        streams = [nothing.fileno()] * 3
        forked = forking.fork([sys.executable, *COMMAND], env, folder, streams, processes.USUAL)
    return forked is not None and forked.wait(30) is not None
