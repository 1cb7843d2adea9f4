"""A rabbitmq-server of the tests' own, and one that was given by URL."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import kombu

from tests.support import processes
from tests.support.finding import Found, find
from tests.support.ports import free_port
from tests.support.waiting import wait_until

USER = "events-test"
BOOT = 90.0  # seconds; 5 on an idle machine

# Loopback only, cheap (no statistics), with HTTP management: a fresh vhost costs 10 ms there, seconds by rabbitmqctl.
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
management_agent.disable_metrics_collector = true
default_user = {user}
default_pass = {password}
loopback_users = none
disk_free_limit.absolute = 50MB
"""


def server_version(url: str) -> str:
    """The version that an AMQP server states; OSError or an AMQP error if it does not serve yet."""
    with kombu.Connection(url, connect_timeout=5) as connection:
        connection.connect()
        return str(connection.connection.server_properties["version"])


class RabbitServer:
    """rabbitmq-server on 127.0.0.1 that shares nothing with another node of the machine.

    Node name, cookie, data, logs, plugins, ports and epmd are its own; a password of its own makes sure that the
    server that answers is this one. May be killed and restarted on its ports and its data.
    """

    def __init__(self, found: Found) -> None:
        self.how = found.how
        self._binary = found.binary
        self.port, self._management, self._dist, self._epmd_port = (free_port() for _ in range(4))
        self._password = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="events-test-rabbitmq-"))
        self._epmd: processes.Process | None = None
        self._process: processes.Process | None = None
        self.version = ""

    def url(self, vhost: str = "/") -> str:
        return f"amqp://{USER}:{self._password}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @property
    def pid(self) -> int | None:
        """Process id of the server's group while it runs."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def start(self) -> None:
        """Starts it and waits until a client can log in over AMQP and over HTTP."""
        if self.pid is not None:
            return
        self._start_epmd()
        wait_until(self._ports_are_free, 30, f"ports of the earlier rabbitmq-server ({self.port}) to be free")
        self._write_config()
        self._process = processes.start([self._binary], name="rabbitmq-server", env=self._env(), cwd=self._folder)
        wait_until(self._answers, BOOT, f"rabbitmq-server on port {self.port} to accept AMQP")

    def _start_epmd(self) -> None:
        # In the foreground and as our child: the one that Erlang would start by itself outlives everything.
        if self._epmd is not None and self._epmd.alive:
            return
        epmd = find("epmd", "erlang-base")
        if epmd is None:
            raise RuntimeError("rabbitmq-server is there, but Erlang's epmd is not on PATH: install erlang-base")
        args = [str(epmd.binary), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = processes.start(args, name="epmd", cwd=self._folder)
        wait_until(lambda: _listens(self._epmd_port), 30, f"epmd on port {self._epmd_port}")

    def _write_config(self) -> None:
        numbers = {"amqp": self.port, "management": self._management}
        (self._folder / "rabbitmq.conf").write_text(CONFIG.format(user=USER, password=self._password, **numbers))
        (self._folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def _env(self) -> dict[str, str | None]:
        folder = self._folder
        return {
            "HOME": str(folder),  # the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"events-test-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),  # not the machine's
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _answers(self) -> bool:
        assert self._process is not None
        if not self._process.alive:
            raise RuntimeError(f"rabbitmq-server ended while starting:\n{self._process.log[-4000:]}")
        if not (_listens(self.port) and _listens(self._management)):
            return False
        try:
            self.version = server_version(self.url())
            self.api("GET", "vhosts")
        except (OSError, kombu.exceptions.OperationalError):
            return False
        return True

    def _ports_are_free(self) -> bool:
        return not any(map(_listens, (self.port, self._management, self._dist)))

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Calls its management API, path as in `queues/%2F`; urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._management}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode())
        request.add_header("Content-Type", "application/json")
        request.data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # not through the machine's proxy
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_vhost(self, name: str) -> str:
        """Makes an empty vhost that its user may use, and returns its URL."""
        self.api("PUT", f"vhosts/{quote(name, safe='')}")
        return self.url(name)

    def drop_vhost(self, name: str) -> None:
        """Deletes a vhost with all that is in it; connections to it are closed."""
        try:
            self.api("DELETE", f"vhosts/{quote(name, safe='')}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def queues(self, vhost: str = "/") -> list[str]:
        """Names of the queues that exist there."""
        return sorted(queue["name"] for queue in self.api("GET", f"queues/{quote(vhost, safe='')}?disable_stats=true"))

    def unacknowledged(self, url: str) -> int:
        """Messages that consumers of a vhost, given by its URL, have taken and not acknowledged."""
        vhost = quote(urlsplit(url).path[1:] or "/", safe="")
        totals = self.api("GET", f"queues/{vhost}?disable_stats=true&enable_queue_totals=true")
        assert totals, f"RabbitMQ names no queue of {vhost}: none answered in time"  # it leaves out what does not
        return sum(queue.get("messages_unacknowledged", 0) for queue in totals)

    def stop(self) -> None:
        """An orderly end, which takes about 6 seconds."""
        if self._process is not None:
            self._process.terminate(BOOT)

    def kill(self) -> None:
        """SIGKILL to the server with all its children."""
        if self._process is not None:
            self._process.kill9()

    def restart(self) -> None:
        """Ends it in order if it still runs, and starts it on the same ports and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Ends it and its epmd, and deletes its data."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill9()
        shutil.rmtree(self._folder, ignore_errors=True)


class GivenRabbit:
    """A RabbitMQ that someone else runs. Its vhost is used as it is: tests stay apart by their systems' names."""

    def __init__(self, url: str, variable: str) -> None:
        """Looks at it; RuntimeError if it does not answer."""
        self._url = url
        parts = urlsplit(url)
        self.how = f"{variable}={urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))}"
        try:
            self.version = server_version(url)
        except (OSError, kombu.exceptions.OperationalError) as error:
            raise RuntimeError(f"the RabbitMQ of {self.how} does not answer: {error}") from error

    def add_vhost(self, name: str) -> str:
        return self._url

    def drop_vhost(self, name: str) -> None:
        pass

    def unacknowledged(self, url: str) -> int:
        """0: only its management would know, and may not be there. Tests on it may see a message twice after a kill."""
        return 0

    def close(self) -> None:
        pass


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
