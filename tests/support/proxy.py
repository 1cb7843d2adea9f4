"""A TCP proxy that can go bad: between a client and a server, it swallows bytes or cuts connections on command."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from tests.support.ports import free_port

CHUNK = 65536


class Proxy:
    """Forwards 127.0.0.1:port to a target port of 127.0.0.1. A context manager; else call close().

    Example:
        with Proxy(redis_server.port) as proxy:
            proxy.blackhole()
    """

    def __init__(self, target: int) -> None:
        """Listens at once.

        Args:
            target: port of the server on 127.0.0.1.
        """
        self._target = target
        self._lock = threading.Lock()
        self._swallows = False
        self._open: set[socket.socket] = set()
        self._stranded: set[socket.socket] = set()
        self.swallowed = 0
        """Bytes that clients and the server sent in vain."""
        self.served = 0
        """Connections that clients have made."""
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._run(self._accept)

    def blackhole(self) -> None:
        """From now on takes connections and bytes, and passes nothing on, in either direction."""
        self._swallows = True

    def strand(self) -> None:
        """The connections that there are lead nowhere from now on, unknown to either end. New ones are served."""
        with self._lock:
            self._stranded |= self._open

    def cut(self) -> None:
        """Closes every connection; new ones are taken."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def heal(self) -> None:
        """Forwards again. Connections that lost bytes could not go on, so all are closed."""
        if self._swallows:
            self._swallows = False
            self.cut()

    def close(self) -> None:
        """Stops listening and closes every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, target: object, *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True, name=f"proxy-{self.port}").start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self.served += 1
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        if self._swallows:
            self._keep(client)
            self._run(self._pump, client, None)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            client.close()  # the server is down: the client sees its connection end
            return
        server.settimeout(None)
        self._keep(client, server)
        self._run(self._pump, client, server)
        self._run(self._pump, server, client)

    def _keep(self, *connections: socket.socket) -> None:
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.update(connections)

    def _pump(self, source: socket.socket, sink: socket.socket | None) -> None:
        """Moves bytes one way until an end closes; without a sink they vanish."""
        try:
            while data := source.recv(CHUNK):
                if self._swallows or sink is None or source in self._stranded:
                    self.swallowed += len(data)
                else:
                    sink.sendall(data)
        except OSError:
            pass  # cut
        if (
            not self._swallows and source not in self._stranded
        ):  # in a black hole the other end does not even learn of the end
            self._drop(source, sink)

    def _drop(self, *connections: socket.socket | None) -> None:
        with self._lock:
            self._open.difference_update(filter(None, connections))
        for connection in filter(None, connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the other pump
            connection.close()
