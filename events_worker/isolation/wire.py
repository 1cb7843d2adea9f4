"""What worker and isolated run say to each other: JSON behind a length of four bytes."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict
from typing import Any

from events_worker.outcome import Busy, Dead, Delayed, Done, Held, Outcome, Settled
from events_worker.run import Run

_LENGTH = struct.Struct(">I")
_OUTCOMES: dict[str, type[Any]] = {cls.__name__: cls for cls in (Done, Delayed, Held, Busy, Settled, Dead)}
_SENT = (
    "task_id", "task", "queue", "headers", "payload", "redelivered", "suspect", "attempt", "number", "starts",
    "dangers", "started_at", "token", "instead",
)  # fmt: skip


def send(connection: socket.socket, value: Any) -> None:
    """Send one value."""
    data = json.dumps(value, default=repr).encode()  # headers may hold times and bytes
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> Any:
    """The next value. Raises EOFError when the other side is gone, TimeoutError as the socket is set."""
    return json.loads(_exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def pack_run(run: Run) -> dict[str, Any]:
    """A run, to be executed elsewhere."""
    return {name: getattr(run, name) for name in _SENT}


def unpack_run(value: dict[str, Any]) -> Run:
    """The run to execute here, alone."""
    return Run(**value, isolated=True)


def pack_outcome(outcome: Outcome, *, settled: bool) -> dict[str, Any]:
    """An outcome, and whether it is settled."""
    return {"outcome": type(outcome).__name__, "values": asdict(outcome), "settled": settled}


def unpack_outcome(value: dict[str, Any]) -> Outcome:
    """An outcome."""
    outcome: Outcome = _OUTCOMES[value["outcome"]](**value["values"])
    return outcome
