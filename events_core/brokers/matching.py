"""Which events a queue is bound to: the routing keys of AMQP's topic exchanges, where the broker does not match them.

Format: AMQP 0-9-1, 3.1.3.3 (https://www.rabbitmq.com/tutorials/tutorial-five-python). ``*`` is one word, ``#`` any
number of them, none included; words are set apart by dots.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def matches(pattern: str, routing_key: str) -> bool:
    """Whether a binding's routing key takes an event's."""
    return _match(pattern.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_match(rest, words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _match(rest, words[1:])


def wanted(bindings: Iterable[tuple[str, str]], topic: str, routing_key: str) -> bool:
    """Whether any of a queue's (topic, routing key) bindings takes an event."""
    return any(topic == of and matches(pattern, routing_key) for of, pattern in bindings)
