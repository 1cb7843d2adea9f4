"""Many small writes to a socket leave in few packets: the broker is woken once for a batch, not once a message."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

#: Linux; elsewhere each write leaves by itself, as without this module.
_TCP_CORK: int | None = getattr(socket, "TCP_CORK", None)


@contextmanager
def corked(sock: socket.socket) -> Iterator[None]:
    """Within the block, send full packets only; at its end, the rest (tcp(7), TCP_CORK).

    After an error in the block the rest is held back: the connection is to be closed. Raises OSError.
    """
    if _TCP_CORK is None or sock.family == socket.AF_UNIX:
        yield
        return
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_CORK, 1)
    yield
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_CORK, 0)
