"""AMQP connections of our own: opened within a deadline, read in large pieces."""

from __future__ import annotations

import os
import struct
from typing import Any

import amqp
import kombu
from kombu.transport import pyamqp

#: What a connection raises that is lost or refused.
ERRORS = (amqp.AMQPError, OSError)
_HEADER = struct.Struct(">BHI")
_FRAME_END = 0xCE
_PIECE = 65536


class BufferedConnection(pyamqp.Connection):  # type: ignore[misc]  # kombu is untyped
    """py-amqp's connection, which asks the kernel for each frame's header, content and end: three calls a frame.

    Frames: AMQP 0-9-1, 4.2.3.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._data = b""
        self._at = 0

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Handle one frame; wait for it at most so many seconds. Raises TimeoutError."""
        while (frame := self._next_frame()) is None:
            with self.transport.having_timeout(timeout) as sock:
                piece = sock.recv(_PIECE)
            if not piece:
                self.transport.connected = False
                raise ConnectionResetError("RabbitMQ closed the connection")
            self._data = self._data[self._at :] + piece
            self._at = 0
        return self.on_inbound_frame(frame)

    def _next_frame(self) -> tuple[int, int, bytes] | None:
        data, start = self._data, self._at + _HEADER.size
        if len(data) <= start:
            return None
        kind, channel, size = _HEADER.unpack_from(data, self._at)
        end = start + size
        if len(data) <= end:
            return None
        if data[end] != _FRAME_END:
            raise amqp.UnexpectedFrame(f"a frame ends with {data[end]:#04x} instead of {_FRAME_END:#04x}")
        self._at = end + 1
        return kind, channel, data[start:end]


def open_connection(template: kombu.Connection, seconds: float, *, heartbeat: int = 0, **options: Any) -> Any:
    """A py-amqp connection to where the template would lead, which stays unopened.

    seconds: for each wait until it stands, and for each wait after that unless the socket is told otherwise.
    heartbeat: seconds, 0 is none. options: of py-amqp's Connection. Raises one of `ERRORS`.
    """
    connection = template.clone(heartbeat=heartbeat, connect_timeout=seconds)
    # until the handshake is done, only the socket itself can end a wait
    waits = {"read_timeout": seconds, "write_timeout": seconds}
    connection.transport_options = {
        **connection.transport_options,
        **{"confirm_publish": False, "max_retries": 0},
        **waits,
        **options,
    }
    transport = connection.transport
    transport.Connection = BufferedConnection
    opened = transport.establish_connection()
    opened.sock.settimeout(seconds)
    return opened


def abandon(connection: Any) -> None:
    """In a forked child: let go of the socket. transport.close() would shut the parent's connection down."""
    transport = connection._transport  # asked for `transport`, one that was closed connects anew
    if transport is not None and transport.sock is not None:
        sock, transport.sock = transport.sock, None
        os.close(sock.detach())
