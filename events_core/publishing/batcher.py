"""aemit without blocking the loop: one thread publishes whatever has come together."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from events_core.errors import EmitError
from events_core.forking import call_in_child
from events_core.publishing.base import CHUNK, Deadline, unsent
from events_core.publishing.messages import Carried


@dataclass(slots=True)
class _Waiting:
    messages: Sequence[Carried]
    deadline: Deadline
    future: asyncio.Future[None]


class Batcher:
    """Publishes for coroutines; what is asked for concurrently shares one batch and one confirmation."""

    def __init__(self, publish: Callable[[Sequence[Carried], float], None]) -> None:
        self._publish_now = publish
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    async def publish(self, messages: Sequence[Carried], timeout: float) -> None:
        """Publish any number of messages, confirmed. Cancelling it does not withdraw them.

        timeout: seconds for each chunk. Raises EmitError.
        """
        await self.ask(messages, timeout)

    def ask(self, messages: Sequence[Carried], timeout: float) -> asyncio.Future[None]:
        """As `publish`: they are asked for when this returns, and confirmed when its future is done."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append(_Waiting(messages, Deadline(timeout), future))
            self._closing = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events-emit", daemon=True)
                self._thread.start()
                atexit.register(self._drain, timeout)
            self._changed.notify_all()
        return future

    def close(self, timeout: float) -> None:
        """End the thread once everything is out; wait for that, at most `timeout` seconds. It can be used again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._thread is None or not self._closing, timeout)

    def _drain(self, timeout: float) -> None:
        """At exit: what was cancelled, but not withdrawn, still goes out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    self._thread = None
                    atexit.unregister(self._drain)
                    self._changed.notify_all()
                    return
                batch = self._next_batch()
            self._publish(batch)
            with self._changed:
                for _ in batch:
                    self._waiting.popleft()
                self._changed.notify_all()

    def _next_batch(self) -> list[_Waiting]:
        """The next few that fit one chunk; one that is larger goes by itself."""
        batch: list[_Waiting] = []
        size = 0
        for waiting in self._waiting:
            size += len(waiting.messages)
            if batch and size > CHUNK:
                break
            batch.append(waiting)
        return batch

    def _publish(self, batch: list[_Waiting]) -> None:
        live: list[_Waiting] = []
        for waiting in batch:
            try:
                waiting.deadline.remaining()
            except TimeoutError:
                _settle(waiting, unsent("the broker did not answer those before in time", waiting.messages))
            else:
                live.append(waiting)
        if not live:
            return
        error: BaseException | None = None
        try:
            messages = [message for waiting in live for message in waiting.messages]
            # The eldest's deadline holds for all: a broker that keeps it serves the younger ones too. What does not
            # fit one chunk goes by itself, and has the whole time for each chunk.
            eldest = live[0].deadline
            self._publish_now(messages, eldest.remaining() if len(messages) <= CHUNK else eldest.seconds)
        except BaseException as caught:
            error = caught
        if len(live) > 1 and isinstance(error, EmitError) and not error.confirmed and not error.uncertain:
            for waiting in live:  # nothing was sent: perhaps for the sake of one, and each is told of its own fault
                self._publish([waiting])
            return
        for waiting in live:
            _settle(waiting, _own_share(error, waiting.messages) if isinstance(error, EmitError) else error)


def _own_share(error: EmitError, messages: Sequence[Carried]) -> EmitError | None:
    """What of a batch's error concerns these messages; None if all of them are confirmed."""
    own = {message.delivery for message in messages}
    share = type(error)(
        error.reason,
        confirmed=[delivery for delivery in error.confirmed if delivery in own],
        uncertain=[delivery for delivery in error.uncertain if delivery in own],
        unsent=[delivery for delivery in error.unsent if delivery in own],
    )
    return share if share.uncertain or share.unsent else None


def _settle(waiting: _Waiting, error: BaseException | None) -> None:
    def set_result() -> None:
        if waiting.future.done():
            return
        if error is None:
            waiting.future.set_result(None)
        else:
            waiting.future.set_exception(error)

    try:
        waiting.future.get_loop().call_soon_threadsafe(set_result)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
