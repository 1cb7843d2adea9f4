"""Dead letters in the coordination Redis: a sorted set by time, a hash with the letters.

The times are Redis's: a worker whose clock is wrong neither makes a letter old nor forgets those of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from events_core.coordination import Coordination
from events_worker.dead_letters.letter import DeadLetter
from events_worker.dead_letters.raw import RawLetters
from events_worker.ledger import Ledger, settle_script
from events_worker.schedule import Schedule

_PAGE = 200

_KEEP = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[2], string.format('%s.%06d', time[1], time[2]), ARGV[1])
return 1
"""
_SETTLE_AND_KEEP = settle_script("dead") + "if not fresh then return 0 end\n" + _KEEP
# Ended by an operator: whatever the run itself left to come is withdrawn.
_FORCE_AND_KEEP = (
    settle_script("dead") + "redis.call('ZREM', KEYS[4], ARGV[1])\nredis.call('HDEL', KEYS[5], ARGV[1])\n" + _KEEP
)

# Two who redrive the same letter at once: one of them gets it, for so many seconds.
_LEASE = """
local until_ = redis.call('HGET', KEYS[2], ARGV[1])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local now = redis.call('TIME')[1]
if until_ and tonumber(until_) > tonumber(now) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], now + ARGV[2])
return 1
"""

# Unless it is gone meanwhile.
_REPLACE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""

_OLD = """
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1] - ARGV[1], 'LIMIT', 0, 200)
"""


#: Called with the ids under which gates know deliveries whose letters nobody will redrive any more.
Gone = Callable[[Sequence[str]], object]


class DeadLetters:
    """The dead letters of one system. retention: seconds. gone: told what is forgotten; an order may wait for it."""

    def __init__(
        self,
        coordination: Coordination,
        ledger: Ledger,
        schedule: Schedule,
        retention: float,
        gone: Gone = lambda forgotten: None,
    ) -> None:
        self._gone = gone
        self._client = coordination.client
        self._ledger = ledger
        self._retention = retention
        self._by_time, self._letters = coordination.key("dead"), coordination.key("dead:letters")
        self._redriving = coordination.key("dead:redriving")
        self._raw = RawLetters(coordination)
        self._schedule_keys = schedule.keys
        self._keep = coordination.script(_KEEP)
        self._settle_and_keep = coordination.script(_SETTLE_AND_KEEP)
        self._force_and_keep = coordination.script(_FORCE_AND_KEEP)
        self._lease = coordination.script(_LEASE)
        self._old = coordination.script(_OLD)
        self._replace = coordination.script(_REPLACE)

    def settle(self, letter: DeadLetter, run: int, *, force: bool = False) -> bool:
        """Settle the run as dead and keep the letter; False if the run was settled already.

        force: keep it even so, and withdraw the next run.
        """
        return bool(self._store(self._force_and_keep if force else self._settle_and_keep, letter, run))

    def keep(self, letter: DeadLetter) -> None:
        """Keep the letter of what is no delivery; of the oldest of very many such the bytes, or the letter, go."""
        self._store(self._keep, letter, 0)
        if letter.raw is None:
            return
        shortened, forgotten = self._raw.add(letter.id, len(letter.raw))
        for letter_id in shortened:
            old = self.get(letter_id)
            if old is not None:
                self._replace(keys=[self._letters], args=[letter_id, replace(old, raw="").to_json()])
        if forgotten:
            self._forget(*forgotten)

    def _store(self, script: Callable[..., Any], letter: DeadLetter, run: int) -> Any:
        keys = [self._ledger.key(letter.id), self._by_time, self._letters, *self._schedule_keys]
        return script(keys=keys, args=[*self._ledger.settle_args(letter.id, run), letter.to_json()])

    def get(self, letter_id: str) -> DeadLetter | None:
        """One letter."""
        with self._client.pipeline() as pipe:
            pipe.hget(self._letters, letter_id)
            pipe.zscore(self._by_time, letter_id)
            text, dead_at = pipe.execute()
        return None if text is None else _read(text, dead_at)

    def has(self, letter_id: str) -> bool:
        """Whether there is such a letter."""
        return bool(self._client.hexists(self._letters, letter_id))

    def find(
        self,
        *,
        ids: tuple[str, ...] = (),
        handler: str | None = None,
        event_type: str | None = None,
        reason: str | None = None,
    ) -> Iterator[DeadLetter]:
        """The letters that fit, newest first. handler and event_type may be patterns (``shop.*``).

        ids: delivery ids or event ids.
        """
        fits = _filter(ids, handler, event_type, reason)
        start = 0
        # by a snapshot of the ids, so that redriving while reading skips none
        members: Any = self._client.zrevrange(self._by_time, 0, -1, withscores=True)
        while start < len(members):
            page = members[start : start + _PAGE]
            texts = self._client.hmget(self._letters, [str(member) for member, _ in page])
            for (_, dead_at), text in zip(page, texts, strict=True):
                if text is not None and fits(letter := _read(text, dead_at)):
                    yield letter
            start += _PAGE

    def discard(self, letter: DeadLetter) -> bool:
        """Forget the letter, which is not redriven; False if it was gone already."""
        if (member := letter.member) is not None:  # before it is forgotten: else nobody would do it
            self._gone([member])
        return self.remove(letter)

    def remove(self, letter: DeadLetter) -> bool:
        """Forget the letter, which was redriven; False if it was gone already."""
        return bool(self._forget(letter.id))

    def _forget(self, *letter_ids: str) -> int:
        with self._client.pipeline() as pipe:
            pipe.zrem(self._by_time, *letter_ids)
            pipe.hdel(self._letters, *letter_ids)
            pipe.hdel(self._redriving, *letter_ids)
            forgotten = int(pipe.execute()[0])
        self._raw.remove(list(letter_ids))
        return forgotten

    def lease(self, letter: DeadLetter, seconds: float) -> bool:
        """Take the letter for redriving; False if it is gone, or someone else has it."""
        return bool(self._lease(keys=[self._letters, self._redriving], args=[letter.id, int(seconds)]))

    def release(self, letter: DeadLetter) -> None:
        """Give a leased letter back: it was not redriven."""
        self._client.hdel(self._redriving, letter.id)

    def count(self) -> int:
        """How many there are."""
        return int(self._client.zcard(self._by_time))

    def prune(self) -> int:
        """Forget some of those older than DEAD_RETENTION; how many."""
        old = [str(letter_id) for letter_id in self._old(keys=[self._by_time], args=[self._retention])]
        if not old:
            return 0
        letters = [_read(text, None) for text in self._client.hmget(self._letters, old) if text is not None]
        self._gone([member for letter in letters if (member := letter.member) is not None])  # as in `discard`
        return self._forget(*old)


def _read(text: Any, dead_at: float | None) -> DeadLetter:
    letter = DeadLetter.from_json(str(text))
    return letter if dead_at is None else replace(letter, dead_at=dead_at)


def _filter(
    ids: tuple[str, ...], handler: str | None, event_type: str | None, reason: str | None
) -> Callable[[DeadLetter], bool]:
    def fits(letter: DeadLetter) -> bool:
        return (
            (not ids or letter.id in ids or letter.event_id in ids)
            and (handler is None or fnmatchcase(letter.handler or "", handler))
            and (event_type is None or fnmatchcase(letter.event_type or "", event_type))
            and (reason is None or letter.reason == reason)
        )

    return fits
