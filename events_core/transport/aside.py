"""Messages that are settled without being delivered: not decoded, and not counted by the prefetch window."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from events_core.transport.acknowledgements import DELAY

if TYPE_CHECKING:
    from events_core.transport.channel import Channel
    from events_core.transport.reading import Read


#: Seconds that a channel's end waits for what is being settled.
_END = 5.0
#: Messages that one read brings at the most beside those that the prefetch window has room for.
_MOST = 256


class Sift(Protocol):
    """Sees what a channel has read before it is delivered."""

    @property
    def room(self) -> int:
        """Bytes that may be put aside now. While there is none nothing is read."""
        ...

    def __call__(self, channel: Channel, found: list[Read], /) -> list[Read]:
        """What is to be delivered. It has put aside the rest, and sees to it."""
        ...


class Aside:
    """Those of one channel. Any thread may call `begin`, and `acknowledge` and `deliver` after that."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reads: dict[str, Read] = {}
        self._begun: set[str] = set()
        self._changed = threading.Condition()
        self._closing = False
        #: So many messages more than the window has room for may be read: they will be put aside.
        self.ahead = 0

    def sift(self, found: list[Read], *, whole: bool) -> list[Read]:
        """What is to be delivered of a read. whole: there may be more."""
        sift: Sift | None = self._channel.connection.sift
        self.ahead = 0
        if sift is None or not found:
            return found
        left = sift(self._channel, found)
        if whole and not left:  # in the midst of a burst: short reads would cost more than what they bring
            longest = max(len(raw) for _, _, raw, _ in found)
            self.ahead = max(min(_MOST, sift.room // max(longest, 1)), 0)
        return left

    def put(self, read: Read) -> None:
        """Keep it, until one of the others is called. Its queue gets it back if the channel closes before."""
        self._reads[read[0]] = read

    def tags(self) -> list[str]:
        """Their delivery tags."""
        return list(self._reads)

    def begin(self, tag: str) -> bool:
        """Whether it may be settled now; then one of the next two must be called soon. False: its queue has it back."""
        with self._changed:
            if not self._closing:
                self._begun.add(tag)
            return not self._closing

    def acknowledge(self, tag: str) -> None:
        """It has been settled."""
        acknowledgements = self._channel.member.acknowledgements
        with self._changed:
            if tag not in self._reads:
                return
            first = acknowledgements.add(tag)  # held, in whatever moment another thread asks
            self._forget(tag)
        if self._closing:  # the member sends it
            self._channel.member.settled(tag)
        elif first or not acknowledgements:
            self._channel.flush_within(DELAY)

    def deliver(self, tag: str) -> None:
        """Deliver it as others are."""
        with self._changed:
            if tag not in self._reads:
                return
            if not self._closing:
                self._channel.buffer.append(self._reads[tag])
            self._forget(tag)
        if self._closing:  # nobody holds it any more: it goes back
            self._channel.member.settled(tag)
        else:
            self._channel.flush_within(0)

    def close(self, *, lost: bool) -> None:
        """The channel closes: what it has read and not settled goes back. Returns when nothing is being settled.

        lost: its connection had, and what is being settled stays ours until it is, which may take as long as an outage.
        """
        with self._changed:
            self._closing = True
            if lost:
                self._channel.member.adopt(dict.fromkeys(self._begun, self))
            else:
                self._changed.wait_for(lambda: not self._begun, _END)
                self._begun.clear()
            self._reads = {tag: read for tag, read in self._reads.items() if tag in self._begun}

    def _forget(self, tag: str) -> None:
        del self._reads[tag]
        self._begun.discard(tag)
        self._changed.notify_all()
