"""The house itself: packaging, the tree, and the support that every other test stands on."""

from __future__ import annotations

import itertools
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import amqp
import kombu
import pytest
import redis
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import finding, processes
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.servers import GivenRabbit, GivenRedis, RabbitServer, RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
NOT_OURS = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".events"}
NOT_OURS |= {".import_linter_cache", "build", "dist"}
# Home and work folders of some machine, and package indexes other than the reader's own.
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:home|root|Users|work)/\w|file://|--(?:extra-)?index-url|--find-links")


def project_files() -> list[Path]:
    return [path for path in ROOT.rglob("*") if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts)]


def pyproject() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def lock() -> list[Requirement]:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


class TestTree:
    def test_no_file_names_a_path_of_some_machine(self) -> None:
        named = []
        for path in project_files():
            if path == Path(__file__) or b"\0" in (content := path.read_bytes())[:1024]:
                continue
            for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
                if MACHINE_PATH.search(line):
                    named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
        assert named == []

    def test_both_packages_say_that_they_are_typed(self) -> None:
        assert (ROOT / "events_core/py.typed").exists()
        assert (ROOT / "events_worker/py.typed").exists()

    def test_every_make_target_is_phony_and_explained(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
        assert {"demo", "test", "check", "bench", "test-chaos", "test-browser", "test-docker", "clean"} <= phony
        told = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
        assert phony - {"help", "setup"} == set(re.findall(r"^make (\S+)", told, re.MULTILINE))


class TestLock:
    def test_every_line_is_one_exact_version(self) -> None:
        for requirement in lock():
            assert [part.operator for part in requirement.specifier] == ["=="], requirement
            assert requirement.url is None

    def test_it_holds_a_fitting_version_of_everything_that_pyproject_asks_for(self) -> None:
        project = pyproject()["project"]
        groups = [*project["optional-dependencies"].values(), pyproject()["dependency-groups"]["dev"]]
        asked = [*project["dependencies"], *itertools.chain(*groups)]
        pinned = {canonicalize_name(line.name): next(iter(line.specifier)).version for line in lock()}
        for requirement in map(Requirement, asked):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement

    def test_it_is_complete(self) -> None:
        """What is pinned needs nothing that is not pinned: the install is the same on any day."""
        pinned = {canonicalize_name(line.name) for line in lock()}
        for line in lock():
            if line.marker and not line.marker.evaluate():
                continue
            for needed in map(Requirement, metadata.requires(line.name) or ()):
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    assert canonicalize_name(needed.name) in pinned, f"{line.name} needs {needed}"


class TestArchitecture:
    def test_a_planted_import_is_caught(self, tmp_path: Path) -> None:
        for package in ("events_core", "events_worker"):
            shutil.copytree(ROOT / package, tmp_path / package)
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        with (tmp_path / "events_core/errors.py").open("a") as file:
            file.write("\nimport celery\nimport events_core.settings\n")
        lint = processes.start_python("-c", "from importlinter.cli import lint_imports_command as m; m()", cwd=tmp_path)
        assert lint.wait() == 1
        assert "events_core.errors -> celery" in lint.log
        assert "events_core.errors -> events_core.settings" in lint.log


class TestWaiting:
    def test_it_returns_what_the_condition_gave(self) -> None:
        looks = iter([0, None, "", "here"])
        assert wait_until(lambda: next(looks)) == "here"

    def test_it_says_what_it_waited_for_and_the_last_look(self) -> None:
        with pytest.raises(AssertionError, match=r"waited 0 s for: three orders\. The last look gave: \[\]"):
            wait_until(lambda: [], 0, "three orders")

    def test_a_failed_assertion_in_the_condition_means_not_yet(self) -> None:
        def never() -> bool:
            raise AssertionError("no")

        with pytest.raises(AssertionError, match="The last look gave: AssertionError"):
            wait_until(never, 0)


class TestProcesses:
    def test_its_output_can_be_awaited_and_it_is_killed_with_its_children(self) -> None:
        code = "import signal, subprocess; print('child', subprocess.Popen(['sleep', '600']).pid); signal.pause()"
        parent = processes.start_python("-c", code)
        child = int(parent.wait_for_log(r"^child (\d+)$")[1])
        assert parent.alive
        parent.kill9()
        assert parent.exit_code == -9
        wait_until(lambda: not runs(child), what="the child to be gone")

    def test_waiting_for_a_line_ends_when_the_process_does_and_shows_what_it_said(self) -> None:
        failing = processes.start_python("-c", "raise SystemExit('no broker')")
        with pytest.raises(AssertionError, match=r"ended \(1\) before it printed /ready/\n.*\nno broker"):
            failing.wait_for_log("ready", 60)

    def test_settings_of_this_machine_do_not_reach_a_child(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVENTS_BROKER_URL", "redis://elsewhere")
        assert "EVENTS_BROKER_URL" not in processes.child_env()
        assert processes.child_env({"EVENTS_BROKER_URL": "memory"})["EVENTS_BROKER_URL"] == "memory"
        assert "PATH" not in processes.child_env({"PATH": None})


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", free_port()))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def say(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(100)


class TestProxy:
    def test_it_forwards_both_ways_and_cuts_but_takes_new_connections(self, echo: int) -> None:
        with Proxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
            assert say(client, b"hello") == b"hello"
            proxy.cut()
            assert client.recv(1) == b""
            with socket.create_connection(("127.0.0.1", proxy.port), 10) as another:
                assert say(another, b"again") == b"again"

    def test_a_black_hole_swallows_old_and_new_connections_until_healed(self, echo: int) -> None:
        with Proxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as old:
            assert say(old, b"hello") == b"hello"
            proxy.blackhole()
            with socket.create_connection(("127.0.0.1", proxy.port), 10) as new:
                for client in (old, new):
                    client.sendall(b"lost?")
                wait_until(lambda: proxy.swallowed == 10, what="both to be swallowed")
                for client in (old, new):
                    client.settimeout(0.05)
                    with pytest.raises(TimeoutError):
                        client.recv(1)
                    client.settimeout(10)
                proxy.heal()
                assert old.recv(1) == new.recv(1) == b""  # closed, for they could not go on
            with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
                assert say(client, b"well") == b"well"


class TestFinding:
    def test_packages_start_no_service_while_they_are_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        policy = tmp_path / "policy-rc.d"
        monkeypatch.setattr(finding, "POLICY", policy)
        with finding._no_services():
            assert subprocess.run([policy], check=False).returncode == 101  # "forbidden"
        assert not policy.exists()
        policy.write_text("the machine's own")
        with finding._no_services():
            pass
        assert policy.read_text() == "the machine's own"

    def test_what_is_nowhere_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")  # neither the server nor apt-get
        assert finding.find("redis-server", "redis-server") is None


class TestRedis:
    def test_a_killed_server_comes_back_with_its_data_on_its_port(self, own_redis_server: RedisServer) -> None:
        client, url = own_redis_server.client(), own_redis_server.url()
        client.set("order", "7")  # written to the file before the answer: a kill of the process alone loses nothing
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        own_redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_redis_server.start()
        assert own_redis_server.url() == url
        assert own_redis_server.client().get("order") == b"7"

    def test_a_stranger_on_the_port_is_never_emptied(self, own_redis_server: RedisServer) -> None:
        own_redis_server.client().set("order", "7")
        stranger = own_redis_server  # seen by an object that did not start it
        thief = object.__new__(RedisServer)
        thief.__dict__ = {**stranger.__dict__, "_process": None}
        with pytest.raises(RuntimeError, match="nothing deleted"):
            thief.empty()
        assert stranger.client().get("order") == b"7"

    def test_a_given_database_that_holds_something_is_refused(self, own_redis_server: RedisServer) -> None:
        own_redis_server.client(3).set("someone's", "data")
        with pytest.raises(RuntimeError, match="holds 1 keys") as refused:
            GivenRedis(own_redis_server.url(3), "VARIABLE")
        assert "@" not in str(refused.value)  # no password
        assert GivenRedis(own_redis_server.url(4), "VARIABLE").version == own_redis_server.version

    def test_each_test_gets_it_empty(self, redis_url: str, redis_server: RedisServer | GivenRedis) -> None:
        assert redis_server.client().dbsize() == 0


class TestRabbit:
    @pytest.mark.contract
    def test_a_killed_and_a_restarted_server_keep_durable_messages(self, own_rabbitmq_server: RabbitServer) -> None:
        """Restarted first: killed in its very first life, RabbitMQ may forget the queue (TestOneServer, publishing)."""
        url = own_rabbitmq_server.add_vhost("shop")
        options = {"confirm_publish": True}
        with kombu.Connection(url, transport_options=options) as connection:
            queue = connection.SimpleQueue("orders", queue_opts={"durable": True})
            queue.put({"order": 7})
            queue.close()
        own_rabbitmq_server.restart()
        own_rabbitmq_server.kill()
        own_rabbitmq_server.start()
        assert own_rabbitmq_server.queues("shop") == ["orders"]
        with kombu.Connection(url) as connection:
            message = connection.SimpleQueue("orders").get(timeout=10)
            assert message.payload == {"order": 7}

    def test_each_test_gets_a_vhost_of_its_own(
        self, amqp_url: str, rabbitmq_server: RabbitServer | GivenRabbit
    ) -> None:
        if isinstance(rabbitmq_server, GivenRabbit):
            assert amqp_url == rabbitmq_server.add_vhost("any")
            return
        assert rabbitmq_server.queues(amqp_url.rpartition("/")[2]) == []
        with kombu.Connection(amqp_url) as connection:
            connection.SimpleQueue("orders").put({})
        assert rabbitmq_server.queues(amqp_url.rpartition("/")[2]) == ["orders"]
        rabbitmq_server.drop_vhost(amqp_url.rpartition("/")[2])
        with pytest.raises(amqp.NotAllowed, match="not found"), kombu.Connection(amqp_url) as connection:
            connection.connect()


class TestSummary:
    @pytest.mark.parametrize("required, code", [("", 0), ("1", 1)])
    def test_skips_are_named_and_fail_where_servers_are_required(
        self, tmp_path: Path, required: str, code: int
    ) -> None:
        (tmp_path / "test_it.py").write_text(
            "import pytest\nfrom tests.support.missing import missing\nfrom tests.support.servers import used\n"
            "def test_server():\n    missing('no such server')\n"
            "def test_plain():\n    pytest.skip('not today')\n"
            "def test_expected():\n    pytest.xfail('known')\n"
            "def test_ran():\n    used.append('redis 0.1: here')\n"
        )
        args = ["-p", "tests.support.summary", "-p", "no:cacheprovider", "--rootdir", tmp_path]
        env = {"EVENTS_TEST_REQUIRE_SERVERS": required or None, "PYTEST_ADDOPTS": None}
        run = processes.start([sys.executable, "-m", "pytest", *args], env=env, cwd=tmp_path)
        assert run.wait(60) == code, run.log
        assert re.search(r"= servers =+\nredis 0\.1: here\n", run.log)
        if not required:
            assert re.search(r"= skipped =+\n1 x no such server\n1 x not today\n", run.log)
        else:
            assert re.search(r"= skipped =+\nnothing\n", run.log)
            assert "2 failed, 1 passed, 1 xfailed" in run.log
            assert "skipped, and EVENTS_TEST_REQUIRE_SERVERS is set: not today" in run.log
