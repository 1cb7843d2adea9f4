"""What a receiver holds: messages that were handed out and are not settled, and those that wait to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from events_core.brokers.base import Received


class Window:
    """At most `size` messages are out at once. Each message's tag is its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[Received] = deque()
        self._out: dict[object, Received] = {}

    @property
    def free(self) -> int:
        """How many more may be read."""
        return self._size - len(self._out) - len(self._waiting)

    @property
    def held(self) -> list[object]:
        """The tags of all messages, those that wait included."""
        return [*self._out, *(message.tag for message in self._waiting)]

    def holds(self, tag: object) -> bool:
        """Whether a message is here."""
        return tag in self._out or any(message.tag == tag for message in self._waiting)

    def add(self, messages: Iterable[Received]) -> None:
        """What was read."""
        self._waiting.extend(messages)

    def take(self) -> list[Received]:
        """Hand out what there is room for."""
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._size - len(self._out)))]
        self._out.update((message.tag, message) for message in taken)
        return taken

    def settle(self, messages: Sequence[Received]) -> list[Received]:
        """Those of the messages that were out; they are no more."""
        return [message for message in messages if self._out.pop(message.tag, None) is not None]

    def take_back(self, messages: Sequence[Received]) -> None:
        """Hand these out again, before what waits."""
        again = [replace(message, redelivered=True) for message in self.settle(messages)]
        self._waiting.extendleft(reversed(again))

    def take_all_back(self) -> None:
        """Hand out again all that is out."""
        self.take_back([*self._out.values()])

    def forget_out(self) -> None:
        """What is out is not to be settled any more."""
        self._out.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._out.clear()
