"""The event loop's part: when to read, when to send acknowledgements, when to deliver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from kombu.transport import redis as stock

from events_core.transport.delivering import TURN, deliver
from events_core.transport.each_round import EachRound
from events_core.transport.errors import FAILED, LOST

#: Seconds after which a full prefetch window is looked at again, where there is no event loop to be told.
_MOMENT = 0.01
#: Seconds before a connection is given up on which Redis refuses.
_PAUSE = 1.0


def _nothing() -> None:
    """What a timer calls that only has to end the loop's wait."""


class Poller(stock.MultiChannelPoller):
    """Overrides kombu's of 5.7, whose connections and registrations it uses. One for all channels of a connection."""

    def __init__(self) -> None:
        super().__init__()
        #: Whether an error of the connection has left this poller: Celery then opens another one.
        self.failed = False
        self._loop: Any = None
        self._loop_thread: int | None = None
        self._delivering: EachRound | None = None

    def use_loop(self, loop: Any) -> None:
        """Run in this event loop."""
        if self._delivering is not None:
            self._delivering.close()
        self._loop = loop
        self._delivering = EachRound(loop, self._deliver)  # the loop's poll does not see what is in the buffer

    @property
    def in_loop(self) -> bool:
        """Whether there is an event loop, which comes by again."""
        return self._loop is not None

    def on_poll_start(self) -> None:
        """Before each wait of the loop: send what is due, ask for what there is room for."""
        self._loop_thread = threading.get_ident()
        self._guarded(self._prepare)

    def _prepare(self) -> None:
        ready = False
        for channel in [*self._channels]:
            if channel.consuming:
                acknowledgements = channel.member.acknowledgements
                if acknowledgements.due:
                    acknowledgements.flush()
                if channel.buffer:
                    ready = ready or channel.qos.can_consume()
                if channel.active_queues and channel.has_room(patient=self.in_loop):
                    self._register_BRPOP(channel)
            if channel.active_fanout_queues:
                self._register_LISTEN(channel)
        if self._delivering is not None:
            self._delivering.start() if ready else self._delivering.stop()

    def on_readable(self, fileno: int) -> Any:
        """A connection has something to say."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind != "BRPOP":
            return self._guarded(lambda: super(Poller, self).on_readable(fileno))
        if channel._in_poll:
            return self._guarded(channel._brpop_read)
        channel.client.connection.disconnect()  # nothing was asked: the server closed it
        return None

    def get(self, callback: Callable[..., Any], timeout: float | None = None) -> None:
        """Without an event loop: deliver one message, or wait for one."""
        for channel in [*self._channels]:
            if channel.buffer and deliver(channel):
                return
        for channel in [*self._channels]:
            if channel.consuming:
                self._guarded(channel.member.acknowledgements.flush)
        if any(channel.consuming and not channel.qos.can_consume() for channel in self._channels):
            timeout = _MOMENT if timeout is None else min(timeout, _MOMENT)  # another thread may make room
        self._guarded(lambda: super(Poller, self).get(callback, timeout))

    def flush_within(self, seconds: float) -> None:
        """See that the loop comes by in time to send acknowledgements."""
        if self._loop is None:
            return
        if threading.get_ident() == self._loop_thread:
            self._loop.call_later(seconds, _nothing)
        else:
            self._loop.call_soon(self._loop.call_later, seconds, _nothing)

    def close(self) -> None:
        """Let go of the event loop."""
        super().close()
        if self._delivering is not None:
            self._delivering.close()

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except FAILED as error:
            self.failed = True
            if not isinstance(error, LOST):
                time.sleep(_PAUSE)  # Celery opens another connection at once, and Redis will refuse there too
            raise

    def _deliver(self) -> None:
        for channel in [*self._channels]:
            if channel.buffer:
                self._guarded(partial(deliver, channel, TURN))
