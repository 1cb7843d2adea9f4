"""Lock files (flock). The kernel releases them when the last process that holds them is gone, however it ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.01


def open_lock(path: Path) -> int:
    """A new file descriptor of `path`, made if missing, not locked, and not passed on to programs that are run."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(fd: int, kind: int) -> bool:
    """Lock with `fcntl.LOCK_SH` or `LOCK_EX` now, or not at all."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds `path` exclusively."""
    fd = open_lock(path)
    try:
        return not try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def open_shared(path: Path, deadline: float) -> int:
    """A new file descriptor that holds `path` shared. Raises `TimeoutError` at `deadline` (time.monotonic)."""
    return _open_locked(path, fcntl.LOCK_SH, deadline)


@contextmanager
def exclusive(path: Path, deadline: float) -> Iterator[None]:
    """Hold `path` alone. Raises `TimeoutError` at `deadline` (time.monotonic)."""
    fd = _open_locked(path, fcntl.LOCK_EX, deadline)
    try:
        yield
    finally:
        # Explicitly: closing alone would not release it while a forked child has the descriptor too.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def is_file(fd: int, path: Path) -> bool:
    """Whether `fd` is still what `path` names: the directory may have been removed and made anew."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _open_locked(path: Path, kind: int, deadline: float) -> int:
    fd = open_lock(path)
    try:
        while not try_lock(fd, kind):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is held by another process")
            time.sleep(PAUSE)
    except BaseException:
        os.close(fd)
        raise
    return fd
