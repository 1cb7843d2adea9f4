"""What is kept of subscriptions in the coordination Redis, by name."""

from __future__ import annotations

import os
import secrets
import socket

from events_core.coordination import Coordination


def name_of_this_process() -> str:
    """By which others know it. Not by its number alone: in containers that share a host's name each has number 1."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def queues_key(coordination: Coordination) -> str:
    """A set: the names of all queues that a worker has ever declared."""
    return coordination.key("subscriptions")


def bindings_key(coordination: Coordination, queue: str) -> str:
    """JSON: what the queue was bound by last."""
    return coordination.key(f"subscription:{queue}:bindings")


def counts_key(coordination: Coordination, queue: str) -> str:
    """A hash: what became of the queue's messages."""
    return coordination.key(f"subscription:{queue}:counts")


def consumers_key(coordination: Coordination, queue: str) -> str:
    """A sorted set: which workers listen, by when they last said so."""
    return coordination.key(f"subscription:{queue}:consumers")


def neighbours_key(coordination: Coordination, queue: str) -> str:
    """A hash: what each worker asks for, and when it last said so. Those of the last UNKNOWN_GRACE seconds."""
    return coordination.key(f"subscription:{queue}:asked")
