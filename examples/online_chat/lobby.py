"""Who is connected to this server, and what was said last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from examples.online_chat.chat import MessageSent

#: Messages that a newcomer is shown, and one who comes back.
REMEMBERED = 50
#: Messages that may wait for one visitor. Who is further behind has to come back.
WAITING = 100


class Visitor:
    """One browser. too_slow: done when more waits for it than may."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self.too_slow: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, message: str) -> None:
        """Put a message in its line. Never waits: nobody is held up by somebody else's network."""
        if self._waiting.qsize() < WAITING:
            self._waiting.put_nowait(message)
        elif not self.too_slow.done():
            self.too_slow.set_result(None)

    async def next_message(self) -> str:
        """Wait for the next message to it."""
        return await self._waiting.get()


class Lobby:
    """The visitors of this server; all of its methods run on the event loop."""

    def __init__(self) -> None:
        self._visitors: set[Visitor] = set()
        self._last: dict[UUID, str] = {}

    @contextmanager
    def visit(self) -> Iterator[Visitor]:
        """A visitor, for the length of the block. It begins with what was said last."""
        visitor = Visitor()
        for message in self._last.values():
            visitor.tell(message)
        self._visitors.add(visitor)
        try:
            yield visitor
        finally:
            self._visitors.discard(visitor)

    def show(self, event: MessageSent) -> None:
        """Show a message to everyone here. The bus may bring it twice: it is shown once."""
        if event.event_id in self._last:
            return
        message = self._last[event.event_id] = event.model_dump_json()
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]
        for visitor in self._visitors:
            visitor.tell(message)
