"""One redis-server of one directory: find out about it, start it, stop it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.embedded.binary import Binary, find_binary
from events_core.embedded.failures import CorruptAppendOnlyFile, EmbeddedRedisError
from events_core.embedded.locks import PAUSE, is_locked, open_lock, try_lock
from events_core.embedded.places import Places

SETTINGS = {
    "port": "0",  # the unix socket only
    "unixsocketperm": "700",
    "daemonize": "yes",  # a session of its own, and nobody's child
    "databases": "16",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",
    "maxmemory-policy": "noeviction",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A redis-server that answered."""

    pid: int
    version: str


def identify(places: Places, timeout: float) -> Server:
    """Ask the server behind the socket who it is; `timeout` in seconds.

    Raises `redis.BusyLoadingError` while it loads its data, another `redis.ConnectionError` or `redis.TimeoutError`
    if none answers, and `EmbeddedRedisError` if it is the server of another directory.
    """
    with _client(places, timeout) as client, client.pipeline(transaction=False) as pipe:
        pipe.ping().info("server").config_get("dir")
        _, info, config = cast("tuple[bool, dict[str, Any], dict[str, str]]", tuple(pipe.execute()))
    if config["dir"] != str(places.data_dir):
        raise EmbeddedRedisError(
            f"The redis-server behind {places.socket} (pid {info['process_id']}) keeps its data in {config['dir']!r}, "
            f"not in {places.data_dir}. Stop it (`kill {info['process_id']}`) and start again."
        )
    return Server(int(info["process_id"]), str(info["redis_version"]))


def bring_up(places: Places, timeout: float) -> Server:
    """The running server, started if there is none. The caller holds `start.lock`.

    Raises `EmbeddedRedisError` if it cannot be reached within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    log_start: int | None = None
    while True:
        try:
            return identify(places, max(deadline - time.monotonic(), PAUSE))
        except (redis.ConnectionError, redis.TimeoutError) as error:
            reason = error
        lock = open_lock(places.server_lock)
        try:
            if try_lock(lock, fcntl.LOCK_EX):  # no server lives
                if log_start is not None:
                    raise _start_failure(places, log_start)
                log_start = _start(find_binary(), places, lock)
        finally:
            os.close(lock)
        if time.monotonic() > deadline:
            raise _unreachable(places, timeout, reason)
        time.sleep(PAUSE)


def stop(places: Places, timeout: float) -> bool:
    """Ask the server to end and wait until it is gone, at most `timeout` seconds; False if it is still there."""
    deadline = time.monotonic() + timeout
    try:
        identify(places, timeout)
        with _client(places, timeout) as client:
            client.shutdown(nosave=True)  # no RDB file; the append-only file is written and synced in any case
    except redis.BusyLoadingError:
        return False
    except (redis.ConnectionError, redis.TimeoutError):
        pass
    while is_locked(places.server_lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    places.tidy()
    return True


def _client(places: Places, timeout: float) -> redis.Redis:
    # Without redis-py's own retries, which would try for many times the timeout.
    return redis.Redis(
        unix_socket_path=str(places.socket),
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="surrogateescape",
    )


def _start(binary: Binary, places: Places, server_lock: int) -> int:
    """Start the server, which inherits `server_lock`. Returns where its part of the log begins."""
    if binary.version < (7,) and (places.data_dir / "appendonlydir").exists():
        raise EmbeddedRedisError(
            f"The data in {places.data_dir} was written by Redis 7 or later, and {binary.path} is "
            f"{'.'.join(map(str, binary.version))}, which would not see it. Install redis-server 7 or later, "
            "or set EVENTS_DATA_DIR to another directory."
        )
    settings = SETTINGS | {
        "dir": str(places.data_dir),
        "unixsocket": str(places.socket),
        "logfile": str(places.log),
        "pidfile": str(places.pid_file),
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    places.log.touch(mode=0o600)
    with places.log.open("ab") as log:
        log_start = os.fstat(log.fileno()).st_size
        # The new session protects the start from a Ctrl-C as well. The umask makes its files private.
        started = subprocess.run(
            [binary.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(server_lock,),
            start_new_session=True,
            umask=0o077,
            check=False,
        )
    if started.returncode != 0:
        raise _start_failure(places, log_start)
    return log_start


def _start_failure(places: Places, log_start: int) -> EmbeddedRedisError:
    with places.log.open("rb") as log:
        log.seek(log_start)
        lines = log.read().decode(errors="replace").strip().splitlines()
    if any("redis-check-aof" in line for line in lines):
        return _corrupt(places, lines)
    last = "\n  ".join(lines[-5:])
    return EmbeddedRedisError(
        f"The embedded Redis did not start in {places.data_dir}. {places.log} ends with:\n  {last}"
    )


def _corrupt(places: Places, lines: list[str]) -> CorruptAppendOnlyFile:
    file = places.data_dir / "appendonly.aof"
    manifest = places.data_dir / "appendonlydir" / "appendonly.aof.manifest"
    if manifest.exists():
        file = manifest
    said = next(line for line in reversed(lines) if "redis-check-aof" in line)
    return CorruptAppendOnlyFile(
        f"The embedded Redis cannot load its append-only file {file}; nothing was changed. Copy {places.data_dir}, "
        f"then run `redis-check-aof --fix {file}`, which cuts the file off at the first bad entry (the program comes "
        "with redis-server; a link of that name to the redis-server binary is it, too). "
        f"Or set EVENTS_DATA_DIR to another directory. redis-server said: {said}"
    )


def _unreachable(places: Places, timeout: float, reason: redis.RedisError) -> EmbeddedRedisError:
    if isinstance(reason, redis.BusyLoadingError):
        return EmbeddedRedisError(
            f"The embedded Redis in {places.data_dir} is still loading its data after {timeout:g} s. Try again soon."
        )
    pid = places.pid_file.read_text().strip() if places.pid_file.exists() else "unknown"
    return EmbeddedRedisError(
        f"The embedded Redis of {places.data_dir} runs (pid {pid}) but did not answer on {places.socket} within "
        f"{timeout:g} s: {reason}. If it is stopped, `kill -CONT {pid}`; if its socket was removed, `kill {pid}`."
    )
