"""Which events a queue is bound to: the routing keys of AMQP's topic exchanges, where the broker does not match them.

Format: AMQP 0-9-1, 3.1.3.3 (https://www.rabbitmq.com/tutorials/tutorial-five-python). ``*`` is one word, ``#`` any
number of them, none included; words are set apart by dots.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

#: Characters of a routing key that is worth remembering; a stranger's may have any number.
_USUAL = 255


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a binding's routing key takes an event's."""
    return (_known if len(routing_key) <= _USUAL else _match)(pattern, routing_key)


def _match(pattern: str, routing_key: str) -> bool:
    """One word after another, each seen once: what somebody sends takes no more time than its length."""
    parts = pattern.split(".")
    reached = _with_none(parts, {0})  # how much of the pattern may have taken the words so far
    for word in routing_key.split("."):
        reached = _with_none(
            parts,
            {at if parts[at] == "#" else at + 1 for at in reached if at < len(parts) and parts[at] in ("#", "*", word)},
        )
    return len(parts) in reached


def _with_none(parts: list[str], reached: set[int]) -> set[int]:
    """The places reached, and those behind a ``#`` that takes no word."""
    for at, part in enumerate(parts):
        if part == "#" and at in reached:
            reached.add(at + 1)
    return reached


_known = lru_cache(maxsize=4096)(_match)


def wanted(bindings: Iterable[tuple[str, str]], topic: str, routing_key: str) -> bool:
    """Whether any of a queue's (topic, routing key) bindings takes an event."""
    return any(topic == of and matches(pattern, routing_key) for of, pattern in bindings)
