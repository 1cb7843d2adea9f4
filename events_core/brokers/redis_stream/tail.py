"""Reading all of a stream from now on, for one consumer alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from events_core.brokers.base import Received
from events_core.brokers.redis_stream.entries import entries_of
from events_core.brokers.redis_stream.receiver import BLOCK, StreamReceiver
from events_core.brokers.redis_wire import Command, raise_refusals


class TailReceiver(StreamReceiver):
    """Hears what is added from the first `receive` on. After a lost connection it goes on where it was."""

    _after: dict[str, str]

    def _connect(self) -> None:
        if not hasattr(self, "_after"):
            self._after = {stream: self._last_of(stream) for stream in self._streams}
        self._reading.open()

    def _look_after(self) -> None:
        """There is nothing of it in Redis."""

    def _last_of(self, stream: str) -> str:
        [newest] = replies = self._telling.call(("XREVRANGE", stream, "+", "-", "COUNT", 1))
        raise_refusals(replies)
        return newest[0][0].decode() if newest else "0-0"

    def _reads(self, count: int) -> list[Command]:
        block = int(BLOCK * 1000)
        return [("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", *self._after, *self._after.values())]

    def _replied(self, command: Command, reply: Any) -> None:
        for stream, entry, fields in entries_of(reply):
            self._take_in(stream, entry, fields)
            self._after[stream] = entry.decode()

    def _lost(self) -> None:
        super()._lost()
        self._window.take_all_back()

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Makes room; Redis knows nothing of it."""
        self._window.settle(messages)

    def give_back(self, messages: Sequence[Received]) -> None:
        """They come again, from this receiver."""
        self._window.take_back(messages)

    def close(self) -> None:
        """See `Receiver.close`. What is unacknowledged is gone for it."""
        self._lost()
        self._window.clear()
        self._bell.close()
