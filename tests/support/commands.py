"""Commands that a test runs to their end."""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support import forking
from tests.support.processes import USUAL


def run_python(
    *args: str, env: Mapping[str, str], cwd: str | Path, said: str = "", timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Runs this Python with the arguments, in a fork where that may be; its exit code and output.

    Args:
        args: such as `"-m", "module"`.
        env: its whole environment.
        cwd: its working directory.
        said: what is typed into it.
        timeout: seconds after which it is killed, and subprocess.TimeoutExpired raised.
    """
    command = [sys.executable, *args]
    (typed, typing), (out, out_end), (err, err_end) = os.pipe(), os.pipe(), os.pipe()
    try:
        with open(typing, "w") as keyboard:
            keyboard.write(said)  # a pipe takes 64 KiB before anybody reads
        try:
            forked = forking.fork(command, env, cwd, [typed, out_end, err_end], USUAL)
        finally:
            for end in (typed, out_end, err_end):
                os.close(end)
        if forked is not None:
            return _to_its_end(forked, (out, err), timeout)
    finally:
        os.close(out)
        os.close(err)
    return subprocess.run(
        command, input=said, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


def _to_its_end(forked: forking.Forked, outputs: tuple[int, int], timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        deadline = time.monotonic() + timeout
        stdout, stderr = _read(outputs, deadline)
        code = forked.wait(deadline - time.monotonic())
    except (TimeoutError, subprocess.TimeoutExpired):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(forked.pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(forked.args, timeout) from None
    return subprocess.CompletedProcess(forked.args, code, stdout, stderr)


def _read(outputs: tuple[int, int], deadline: float) -> list[str]:
    """What comes until whoever holds the other ends has closed them, as subprocess.run reads it."""
    texts = dict.fromkeys(outputs, b"")
    with selectors.DefaultSelector() as selector:
        for output in texts:
            selector.register(output, selectors.EVENT_READ)
        while selector.get_map():
            if (left := deadline - time.monotonic()) < 0:
                raise TimeoutError
            for key, _ in selector.select(left):
                texts[key.fd] += (read := os.read(key.fd, 1 << 16))
                if not read:
                    selector.unregister(key.fd)
    return [io.StringIO(text.decode(), newline=None).read() for text in texts.values()]
