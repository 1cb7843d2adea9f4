"""The consumer groups of the streams, as one client sees them: each call is one round trip, safe to repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import redis

from events_core.transport import keys, scripts

#: Entries that one script call looks at, so that no call holds Redis for long.
BATCH = 1000


class Group:
    """Calls of the scripts. client: without a key prefix of its own; streams are given by their full names."""

    def __init__(self, client: redis.Redis) -> None:
        register = client.register_script
        self._give_back = register(scripts.GIVE_BACK)
        self._release = register(scripts.RELEASE)
        self._alive = register(scripts.ALIVE)
        self._recover = register(scripts.RECOVER)
        self._size = register(scripts.SIZE)
        self._purge = register(scripts.PURGE)
        self._delete_unused = register(scripts.DELETE_UNUSED)

    def say_alive(self, alive: str, process: str, seconds: float) -> None:
        """The process is presumed alive for so many seconds from now on."""
        self._alive(keys=[alive], args=[process, int(seconds * 1000)])

    def give_back(self, stream: str, process: str, entries: Sequence[str], *, in_vain: bool) -> None:
        """Give entries that were delivered back to the queue, at their old place. in_vain: count the delivery."""
        for start in range(0, len(entries), BATCH):
            chunk = entries[start : start + BATCH]
            self._give_back(keys=[stream], args=[keys.GROUP, keys.RETURNED, process, int(in_vain), *chunk])

    def release(self, stream: str, consumer: str, keep: Iterable[str]) -> tuple[int, int]:
        """Give back all that lies in a consumer's name but `keep`. Returns how many were given back, and are kept."""
        given, left = self._release(keys=[stream], args=[keys.GROUP, keys.RETURNED, consumer, *keep])
        return given, left

    def recover(self, stream: str, alive: str, process: str) -> tuple[int, list[str]]:
        """Give back what dead processes hold. Returns how many entries, and the process's own consumer names."""
        total = 0
        while True:
            recovered, own = self._recover(keys=[stream, alive], args=[keys.GROUP, keys.RETURNED, process, BATCH])
            total += recovered
            if recovered < BATCH:
                return total, [name.decode() for name in own]

    def size(self, streams: Sequence[str]) -> int:
        """How many messages wait."""
        return int(self._size(keys=streams, args=[keys.GROUP, keys.RETURNED]))

    def purge(self, stream: str) -> int:
        """Delete the messages that wait. Returns how many."""
        purged = 0
        while count := int(self._purge(keys=[stream], args=[keys.GROUP, keys.RETURNED, BATCH])):
            purged += count
        return purged

    def delete_unused(self, streams: Sequence[str], process: str) -> bool:
        """Delete a queue that no other process consumes. Returns whether it was deleted."""
        return bool(self._delete_unused(keys=streams, args=[keys.GROUP, process]))
