"""What is kept of subscriptions in the coordination Redis, by name."""

from __future__ import annotations

from events_core.coordination import Coordination


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
    """A hash: what each worker that listens asks for, and when it last said so."""
    return coordination.key(f"subscription:{queue}:asked")
