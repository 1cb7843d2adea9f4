"""One process's use of the embedded Redis of one directory."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import threading
import time
from pathlib import Path
from urllib.parse import quote

import redis

from events_core.embedded.failures import EmbeddedRedisError
from events_core.embedded.locks import exclusive, is_file, open_shared, try_lock
from events_core.embedded.places import Places
from events_core.embedded.server import Server, bring_up, identify, stop

logger = logging.getLogger("events_core.embedded")

LEAVING_TIMEOUT = 10.0

_open: dict[Path, EmbeddedRedis] = {}
# Held while joining, leaving and forking, so that no child is born in the middle of it.
_lock = threading.RLock()
_hooked = False


def open_embedded(data_dir: str | Path, *, timeout: float = 10.0) -> EmbeddedRedis:
    """Join the embedded Redis of `data_dir`, and start it if it is not running.

    A process has one `EmbeddedRedis` for each directory: opening it again gives the same object, to be closed as often
    as it was opened. `timeout` in seconds, for waiting for other processes, starting and loading the data.

    Raises `EmbeddedRedisNotFound`, `CorruptAppendOnlyFile` and `EmbeddedRedisError`.
    """
    places = Places.of(data_dir)
    with _lock:
        _install_hooks()
        embedded = _open.get(places.data_dir) or EmbeddedRedis(places, timeout)
        embedded.ensure()
        embedded._opened += 1
        _open[places.data_dir] = embedded
        return embedded


def is_running(data_dir: str | Path) -> bool:
    """Whether the embedded Redis of `data_dir` answers; it is not started."""
    places = Places.of(data_dir)
    try:
        places.check()
        identify(places, timeout=1.0)
    except redis.BusyLoadingError:
        return True
    except (OSError, redis.RedisError, EmbeddedRedisError):
        return False
    return True


class EmbeddedRedis:
    """A running redis-server for development, from `open_embedded`.

    If the server is killed, its users get connection errors until one of them, or a new process, calls `ensure` or
    `open_embedded`; then they reach it again at the same URL, with its data. A forked child is a user of its own: it
    needs no call, keeps the server alive for as long as it lives, and stops it if it is the last to leave.
    """

    def __init__(self, places: Places, timeout: float) -> None:
        self._places = places
        self._timeout = timeout
        self._opened = 0
        self._server: Server | None = None
        self._users: int | None = None  # the descriptor that holds users.lock
        self._owner = 0  # the process whose descriptor it is
        self._for_child: int | None = None

    @property
    def data_dir(self) -> Path:
        """The directory with its data, absolute."""
        return self._places.data_dir

    @property
    def url(self) -> str:
        """Its URL for redis-py."""
        return f"unix://{quote(str(self._places.socket))}?db=0"

    @property
    def broker_url(self) -> str:
        """Its URL for Celery and kombu."""
        return f"redis+socket://{quote(str(self._places.socket))}?virtual_host=0"

    @property
    def pid(self) -> int:
        """The server's process id, as of the last `open_embedded` or `ensure`."""
        return self._known().pid

    @property
    def version(self) -> str:
        """The server's version, such as "7.0.15", as of the last `open_embedded` or `ensure`."""
        return self._known().version

    def ensure(self) -> None:
        """Start the server again if it is gone. One round trip to it otherwise. Errors as `open_embedded`."""
        if self._users is not None and self._owner == os.getpid():
            try:
                self._server = identify(self._places, self._timeout)
                return
            except (redis.ConnectionError, redis.TimeoutError):
                pass
        with _lock:
            self._join()

    def close(self) -> None:
        """Leave. The last user of all processes stops the server and waits until it is gone. Raises nothing."""
        with _lock:
            self._opened -= 1
            if self._opened <= 0:
                self._leave()

    def _known(self) -> Server:
        if self._server is None:
            raise EmbeddedRedisError(f"The embedded Redis of {self.data_dir} was not opened; call open_embedded.")
        return self._server

    def _join(self) -> None:
        places, deadline = self._places, time.monotonic() + self._timeout
        places.prepare()
        try:
            with exclusive(places.start_lock, deadline):
                # A new descriptor each time: the old one may be of a directory that was removed, or of our parent.
                users = open_shared(places.users_lock, deadline)
                try:
                    self._server = bring_up(places, max(deadline - time.monotonic(), 0.0))
                except BaseException:
                    os.close(users)
                    raise
                self._replace_lock(users)
        except TimeoutError as error:
            raise EmbeddedRedisError(
                f"The embedded Redis cannot be opened within {self._timeout:g} s: {error}. "
                f"Find that process with `fuser {places.start_lock} {places.users_lock}` and end it."
            ) from error
        logger.info("embedded Redis %s for development at %s", self._server.version, places.data_dir)

    def _leave(self) -> None:
        users, self._users = self._users, None
        _open.pop(self._places.data_dir, None)
        if users is None:
            return
        try:
            if self._owner == os.getpid():
                self._stop_if_last(users)
        except (OSError, redis.RedisError, EmbeddedRedisError) as error:
            logger.warning("embedded Redis at %s (pid %d) may still run: %s", self.data_dir, self.pid, error)
        finally:
            os.close(users)

    def _stop_if_last(self, users: int) -> None:
        if not is_file(users, self._places.users_lock):
            raise EmbeddedRedisError(f"its directory was removed while it was in use; `kill {self.pid}` ends it")
        with exclusive(self._places.start_lock, time.monotonic() + LEAVING_TIMEOUT):
            if try_lock(users, fcntl.LOCK_EX) and not stop(self._places, LEAVING_TIMEOUT):
                raise EmbeddedRedisError(f"it did not end within {LEAVING_TIMEOUT:g} s")

    def _replace_lock(self, users: int) -> None:
        old, self._users = self._users, users
        self._owner = os.getpid()
        if old is not None:
            os.close(old)

    # flock belongs to the open file, which a forked child shares: its parent, leaving, would seem to be the last
    # user. So the parent opens one more for the child before it forks, and there is no moment without a lock.

    def _before_fork(self) -> None:
        if self._users is not None and is_file(self._users, self._places.users_lock):
            self._for_child = open_shared(self._places.users_lock, time.monotonic())

    def _after_fork_in_parent(self) -> None:
        spare, self._for_child = self._for_child, None
        if spare is not None:
            os.close(spare)

    def _after_fork_in_child(self) -> None:
        spare, self._for_child = self._for_child, None
        if spare is not None:
            self._replace_lock(spare)


def _install_hooks() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        atexit.register(_leave_all)
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )


def _leave_all() -> None:
    with _lock:
        for embedded in list(_open.values()):
            embedded._leave()


def _before_fork() -> None:
    _lock.acquire()
    for embedded in _open.values():
        embedded._before_fork()


def _after_fork_in_parent() -> None:
    for embedded in _open.values():
        embedded._after_fork_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    for embedded in _open.values():
        embedded._after_fork_in_child()
