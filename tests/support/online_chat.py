"""examples/online_chat under test: its servers as processes, and people with web sockets."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.ports import free_port
from tests.support.processes import Process, start_python

ANSWER = 30.0  # seconds


@dataclass
class Server:
    """One server process of the chat."""

    process: Process
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def restart(self, redis_url: str) -> Server:
        """Kill it, and start it again where it was."""
        self.process.kill9()
        return start_server(redis_url, self.port)


@dataclass(frozen=True)
class Person:
    """Somebody who is connected to a server."""

    socket: ClientConnection

    def say(self, text: str, author: str = "ann") -> None:
        self.send({"author": author, "text": text})

    def send(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def next(self) -> dict[str, Any]:
        """The next message on the screen."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=ANSWER))
        return message

    def texts(self, number: int) -> list[str]:
        """The texts of the next messages."""
        return [self.next()["text"] for _ in range(number)]


def start_server(redis_url: str, port: int | None = None) -> Server:
    """A server of the chat on that Redis, as soon as it answers."""
    port = port or free_port()
    command = ("-m", "uvicorn", "examples.online_chat.web:app", "--port", str(port))
    process = start_python(*command, env={"EVENTS_BROKER_URL": redis_url}, name=f"chat server {port}")
    process.wait_for_log(r"running on http://")
    return Server(process, port)


@contextmanager
def visiting(server: Server, **options: Any) -> Iterator[Person]:
    """Somebody on the server's page."""
    with connect(f"ws://{server.address}/chat", proxy=None, **options) as socket:
        yield Person(socket)


def any_text() -> str:
    """A text that nobody else says."""
    return f"hello {secrets.token_hex(4)}"
