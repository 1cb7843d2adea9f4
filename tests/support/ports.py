"""Ports for servers that tests start."""

from __future__ import annotations

import os
import random
import socket

# Below the range that Linux gives to outgoing connections: a port picked here is not taken by one of them
# between this look and the moment the server, seconds later, binds it.
LOWEST, HIGHEST = 20_000, 32_000

SLOTS = 8  # test processes that run side by side, each with ports of its own: none gives what another has just given

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on and that this process has not been given before.

    Raises:
        RuntimeError: 200 random ports were all in use.
    """
    width = (HIGHEST - LOWEST) // SLOTS
    lowest = LOWEST + width * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SLOTS)
    for _ in range(200):
        port = random.randrange(lowest, lowest + width)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port found on 127.0.0.1 between {lowest} and {lowest + width}: end what holds them")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
