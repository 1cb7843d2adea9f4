"""This process as a consumer of one Redis: its names, what it holds, and the thread that keeps both alive.

Redis knows for each entry by whom it is held. A process that says every few seconds that it is alive keeps what it
holds, however long it works on it and whatever happens to its connections. What nobody holds any more goes back:

- a process fell silent for `claim_after`: another one gives back all that it held;
- a connection broke while a reply was on its way: this process gives back what came in nobody's hands;
- a message was dropped unacknowledged when its connection had gone: this process gives it back.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import redis

from events_core.transport import keys
from events_core.transport.acknowledgements import DELAY, Acknowledgements
from events_core.transport.group import Group

logger = logging.getLogger(__name__)

#: Seconds after its connection went that a consumer name is looked through: a blocked read of it has ended by then.
_SETTLING = 2.0
#: Seconds until the thread tries again what failed.
_AGAIN = 0.5


class Holder(Protocol):
    """A channel's record of what it holds."""

    def held(self) -> list[str]:
        """The delivery tags of all messages that the channel has and has not settled."""
        ...

    def consumed(self) -> set[str]:
        """The streams that it consumes."""
        ...

    def expiring(self) -> dict[str, int]:
        """The streams that it consumes and that expire, with their lifetime in milliseconds."""
        ...


class Member:
    """One process on one Redis. claim_after: seconds of silence after which others may take what it holds."""

    def __init__(self, client: redis.Redis, prefix: str, claim_after: float) -> None:
        self.process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.group = Group(client)
        self.acknowledgements = Acknowledgements(client, self._wake_later)
        self.claim_after = claim_after
        self._alive = keys.alive_key(prefix)
        self._client = client
        self._numbers = itertools.count(1)
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        self._orphans: dict[str, weakref.ref[Any]] = {}
        self._names: set[str] = set()
        self._retired: dict[str, float] = {}
        self._streams: set[str] = set()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    # What channels call

    def join(self, holder: Holder) -> None:
        """Count what the holder holds as held by this process."""
        with self._lock:
            self._holders.add(holder)

    def new_name(self, streams: Iterable[str]) -> str:
        """A consumer name for one connection that will read from the streams."""
        name = f"{self.process}/{next(self._numbers)}"
        with self._lock:
            if self._thread is None:
                self.group.say_alive(self._alive, self.process, self.claim_after)
            self._streams.update(streams)
            self._names.add(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redis-streams", daemon=True)
                self._thread.start()
        return name

    def watch(self, streams: Iterable[str]) -> None:
        """Recover what dead processes hold of these streams."""
        self._streams.update(streams)

    def consumes(self, streams: Iterable[str]) -> bool:
        """Whether any of the process's channels consumes one of these streams."""
        return any(not holder.consumed().isdisjoint(streams) for holder in self._all_holders())

    def forget(self, streams: Iterable[str]) -> None:
        """The streams are deleted. One that is still consumed is soon there again."""
        if not self.consumes(streams):
            self._streams.difference_update(streams)

    def retire(self, name: str) -> None:
        """The connection that read under this name has gone: what nobody got of it is given back."""
        with self._lock:
            self._names.discard(name)
            self._retired[name] = time.monotonic() + _SETTLING

    def adopt(self, messages: dict[str, Any]) -> None:
        """Messages of a lost connection: held until somebody settles them, or nobody has them any more.

        messages: for each tag what is gone when nobody has it.
        """
        for tag, message in messages.items():
            self._orphans[tag] = weakref.ref(message, partial(self._dropped, tag))

    def _dropped(self, tag: str, _: object) -> None:
        self._orphans.pop(tag, None)

    def settled(self, tag: str) -> None:
        """A message of a lost connection was settled."""
        self._orphans.pop(tag, None)

    def give_back(self, tags: list[str], *, in_vain: bool = False) -> None:
        """Give messages that were delivered back to their queues. in_vain: count the delivery."""
        for stream, entries in keys.by_stream(tags).items():
            self.group.give_back(stream, self.process, entries, in_vain=in_vain)

    def release(self, name: str) -> bool:
        """Give back what lies in a retired name and nobody holds. Returns whether nothing is left in it."""
        with self.acknowledgements.paused() as waiting:
            held = self._held()  # looked at first: what is not held any more is acknowledged by then
            keep: dict[str, list[str]] = keys.by_stream([*held, *waiting()])
            results = [self.group.release(stream, name, keep.get(stream, ())) for stream in [*self._streams]]
        if given := sum(given for given, _ in results):
            logger.info("%s messages that were not begun went back to their queues", given)
        return not any(left for _, left in results)

    def end(self) -> None:
        """The process ends: give back all that it holds, and go."""
        if self._thread is None:
            return  # it holds nothing, and has said so
        self._holders.clear()
        self._orphans.clear()
        with self._lock:
            names = {*self._names, *self._retired}
            self._names.clear()
            self._retired = dict.fromkeys(names, 0.0)
        try:
            self.acknowledgements.flush()
            for name in names:
                self.release(name)
            self._client.zrem(self._alive, self.process)
        except (redis.RedisError, OSError) as error:
            logger.warning("what this process held is free only in %s s: %s", self.claim_after, error)

    # The thread

    def _wake_later(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        every = self.claim_after / 3
        heard = said = time.monotonic()  # since when Redis has heard of this process without a gap, and when last
        deaf = 0  # how often in a row it did not
        beat = 0.0
        while not self._idle():
            if self._wake.wait(max(min(beat - time.monotonic(), every), 0)):
                self._wake.clear()
                self._send_overdue()
            now = time.monotonic()
            if now < beat:
                continue
            try:
                self.group.say_alive(self._alive, self.process, self.claim_after)
                before, said = said, time.monotonic()
                if said - before > 2 * every:  # Redis stood still
                    heard = said
                # After a gap others have not been heard of either: they get the time to speak up.
                self._tidy(recover=said - heard >= self.claim_after)
            except Exception as error:  # whatever it is: without this thread all that the process holds is taken
                if not deaf:
                    expected = isinstance(error, redis.RedisError | OSError)
                    logger.warning("Redis does not hear that this process is alive: %s", error, exc_info=not expected)
                deaf += 1
                heard = time.monotonic()
                beat = heard + min(_AGAIN * deaf, every)
            else:
                if deaf:
                    logger.info("Redis hears of this process again")
                deaf = 0
                beat = now + self._pause(every)

    def _tidy(self, *, recover: bool) -> None:
        for holder in self._all_holders():
            for stream, milliseconds in holder.expiring().items():
                self._client.pexpire(stream, milliseconds)
        if recover:
            for stream in [*self._streams]:
                recovered, own = self.group.recover(stream, self._alive, self.process)
                self._retire_late(own)
                if recovered:
                    logger.warning("%s messages of dead workers went back to %s", recovered, stream)
        for name, due in [*self._retired.items()]:
            if time.monotonic() >= due and self.release(name):
                with self._lock:
                    self._retired.pop(name, None)

    def _retire_late(self, own: Iterable[str]) -> None:
        """What a broken connection had sent can reach Redis long after its name was looked through."""
        with self._lock:
            for name in own:
                if name not in self._names:
                    self._retired.setdefault(name, 0.0)

    def _pause(self, every: float) -> float:
        """Seconds until the thread has something to do again."""
        lifetimes = [ms / 1000 for holder in self._all_holders() for ms in holder.expiring().values()]
        return min(every, _SETTLING if self._retired else every, *(max(lifetime / 3, 0.1) for lifetime in lifetimes))

    def _send_overdue(self) -> None:
        """The event loop sends them, where there is one and it is not busy with a long task."""
        time.sleep(2 * DELAY)
        try:
            if self.acknowledgements.due:
                self.acknowledgements.flush(wait=False)
        except (redis.RedisError, OSError):  # said by who beats; it wakes this thread again
            time.sleep(_AGAIN)

    def _idle(self) -> bool:
        with self._lock:
            if self._names or self._retired or self._orphans or self.acknowledgements:
                return False
            self._thread = None
            try:
                self._client.zrem(self._alive, self.process)
            except redis.RedisError:
                pass  # it expires
        return True

    def _all_holders(self) -> list[Holder]:
        with self._lock:
            return list(self._holders)

    def _held(self) -> list[str]:
        held = [*self._orphans]
        for holder in self._all_holders():
            held.extend(holder.held())
        return held
