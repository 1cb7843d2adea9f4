"""What is known of a delivery beyond its message: starts, the claim of who runs it, the last settled run.

Asked and written only outside the ordinary case, which is a first run of a message that was delivered once.

One hash for each delivery: `settled` is the number of the last settled run, `starts` counts how often the run in
progress was begun, `until` is when the claim of the copy that runs it ends (milliseconds, Redis's clock), `owner` whose
claim that is, `by` which of its messages it belongs to, where there may be several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from events_core.coordination import Coordination

#: Seconds that what is known of a delivery is kept after its last change.
_KEEP = 7 * 86400
#: Seconds that it is kept of one that was done at its first start, and whose message may only have been made twice.
#: There is one for each such delivery, so that a longer time would fill the Redis.
KEEP_DONE = 3600
#: Seconds after which a second message of a delivery looks again whether the first has settled.
_LOOK_AGAIN = 5.0
#: Seconds that a claim holds without being renewed.
LEASE = 30.0

# A script that settles run ARGV[2] of a delivery begins with this: `fresh` is false if it is settled already.
_SETTLE = """
local settled = tonumber(redis.call('HGET', KEYS[1], 'settled') or 0)
local fresh = tonumber(ARGV[2]) > settled
if fresh then
  redis.call('HSET', KEYS[1], 'settled', ARGV[2], 'how', how)
  redis.call('HDEL', KEYS[1], 'starts', 'until', 'owner')
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
"""


def settle_script(how: Literal["done", "retry", "dead"]) -> str:
    """The beginning of a script that settles a run: `fresh` is false there if it was settled already."""
    return f"local how = '{how}'\n{_SETTLE}"


_LOOK = """
local settled = tonumber(redis.call('HGET', KEYS[1], 'settled') or 0)
if settled >= tonumber(ARGV[1]) then return {'settled', redis.call('HGET', KEYS[1], 'how') or ''} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(redis.call('HGET', KEYS[1], 'until') or 0) - now
local unfinished = redis.call('HGET', KEYS[1], 'starts')
"""

_BUSY = """
if left > 0 then return {'busy', left} end
"""

_LOOK_ONLY = _LOOK + _BUSY + "return {'begun', unfinished or 0}"

# Of several messages of one delivery the first that comes has it: the others wait until it has settled.
_OWN = (
    _LOOK
    + """
local by = redis.call('HGET', KEYS[1], 'by')
if by and by ~= ARGV[2] then return {'busy', ARGV[4]} end
redis.call('HSET', KEYS[1], 'by', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {'begun', 1}
"""
)

# A suspect's next start is counted by who runs it alone: the worker that hands it over may die before that.
_BEGIN = (
    _LOOK
    + _BUSY
    + """
if unfinished then return {'suspect', unfinished} end
redis.call('HSET', KEYS[1], 'starts', ARGV[2] + 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {'begun', ARGV[2] + 1}
"""
)

# Repeated by an owner who did not hear the reply: it has begun already, and no one else has since.
_BEGIN_ALONE = (
    _LOOK
    + """
if unfinished and redis.call('HGET', KEYS[1], 'owner') == ARGV[4] then
  redis.call('HSET', KEYS[1], 'until', now + ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return {'begun', unfinished}
end
"""
    + _BUSY
    + """
redis.call('HSET', KEYS[1], 'starts', (unfinished or 0) + 1, 'until', now + ARGV[2], 'owner', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {'begun', (unfinished or 0) + 1}
"""
)

_RENEW = """
if redis.call('HEXISTS', KEYS[1], 'until') == 0 then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
return 1
"""

_WITHDRAW = """
if tonumber(redis.call('HGET', KEYS[1], 'settled') or 0) >= tonumber(ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'until', 'owner')
if redis.call('HEXISTS', KEYS[1], 'starts') == 1 then redis.call('HINCRBY', KEYS[1], 'starts', -1) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """This copy may run the delivery. `starts` is how often this run was begun, of what the ledger counts."""

    starts: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """So many starts of this run did not come to an end: the next one happens alone."""

    unfinished: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Another copy runs it, for `seconds` at least."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is settled: done, retry (its next run is under way) or dead; empty where an older worker settled it."""

    how: str


class Ledger:
    """The ledger of one system."""

    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination
        self._look = coordination.script(_LOOK_ONLY)
        self._own = coordination.script(_OWN)
        self._begin = coordination.script(_BEGIN)
        self._begin_alone = coordination.script(_BEGIN_ALONE)
        self._renew = coordination.script(_RENEW)
        self._withdraw = coordination.script(_WITHDRAW)
        self._settle = coordination.script(settle_script("done") + "return fresh and 1 or 0")

    def key(self, task_id: str) -> str:
        """The delivery's hash."""
        return self._coordination.key(f"delivery:{task_id}")

    def look(self, task_id: str, run: int) -> Begun | Claimed | Ended:
        """Whether run number `run` may begin, where the broker counts the starts.

        The starts are those that were made alone and did not come to an end.
        """
        word, value = self._look(keys=[self.key(task_id)], args=[run])
        return _read(word, value)

    def own(self, task_id: str, run: int, message: str) -> Begun | Claimed | Ended:
        """Whether this message of a delivery may begin run number `run`, of which there may be others."""
        word, value = self._own(keys=[self.key(task_id)], args=[run, message, _KEEP, int(_LOOK_AGAIN * 1000)])
        return _read(word, value)

    def begin(self, task_id: str, run: int, *, presumed: int) -> Begun | Suspect | Claimed | Ended:
        """Count one start of run number `run`, unless it is a suspect's or has ended.

        presumed: starts before this one that were not counted.
        """
        word, value = self._begin(keys=[self.key(task_id)], args=[run, presumed, _KEEP])
        return Suspect(int(value)) if word == "suspect" else _read(word, value)

    def begin_alone(self, task_id: str, run: int, owner: str) -> Begun | Claimed | Ended:
        """Count and claim one start of a suspect's run, unless it has ended.

        owner: names this one start; asked again with the same owner, it counts once.
        """
        word, value = self._begin_alone(keys=[self.key(task_id)], args=[run, int(LEASE * 1000), _KEEP, owner])
        return _read(word, value)

    def renew(self, task_id: str) -> None:
        """Renew the claim."""
        self._renew(keys=[self.key(task_id)], args=[int(LEASE * 1000)])

    def withdraw(self, task_id: str, run: int, owner: str) -> None:
        """The owner's start of this run ended through no fault of its own: it does not count."""
        self._withdraw(keys=[self.key(task_id)], args=[run, owner])

    def settle(self, task_id: str, run: int, keep: int = _KEEP) -> bool:
        """Run number `run` is settled; False if it was already. keep: seconds that this is known."""
        return bool(self._settle(keys=[self.key(task_id)], args=[task_id, run, keep]))

    @staticmethod
    def settle_args(task_id: str, run: int) -> list[object]:
        """The first arguments of a script that begins with `settle_script`."""
        return [task_id, run, _KEEP]


def _read(word: str, value: str) -> Begun | Claimed | Ended:
    if word == "settled":
        return Ended(value)
    return Begun(int(value)) if word == "begun" else Claimed(int(value) / 1000)
