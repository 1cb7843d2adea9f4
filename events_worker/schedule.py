"""Delayed deliveries: kept in the coordination Redis by their due time, never in a worker's memory.

A sorted set holds the due times (milliseconds, Redis's clock), a hash the messages. What is due is leased to the
worker that sends it; whoever dies in between leaves it to be sent again when the lease ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from events_core.coordination import Coordination
from events_core.publishing.stored import StoredMessage
from events_worker.ledger import Ledger, settle_script

#: Seconds a worker has for sending what it has claimed.
_LEASE = 30.0
_BATCH = 200

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_ADD = (
    _NOW
    + """
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[1])
return 1
"""
)

_SETTLE_AND_ADD = settle_script("retry") + "if not fresh then return 0 end\n" + _ADD

_CLAIM = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local found = {}
for _, member in ipairs(due) do
  local message = redis.call('HGET', KEYS[2], member)
  if message then
    redis.call('ZADD', KEYS[1], now + ARGV[2], member)
    table.insert(found, member)
    table.insert(found, message)
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {now + ARGV[2], next[2] and next[2] - now or -1, found}
"""
)

# Only what is still under our lease: one that was settled and delayed anew meanwhile stays.
_SENT = """
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[1] then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """Due messages, leased to the caller. `wait` is the seconds until the next is due; None if there is none."""

    lease: str
    messages: dict[str, StoredMessage]
    wait: float | None


class Schedule:
    """The delayed deliveries of one system."""

    def __init__(self, coordination: Coordination, ledger: Ledger) -> None:
        self._client = coordination.client
        self._ledger = ledger
        self.keys = [coordination.key("scheduled"), coordination.key("scheduled:messages")]
        self._settle_and_add = coordination.script(_SETTLE_AND_ADD)
        self._add = coordination.script(_ADD)
        self._claim = coordination.script(_CLAIM)
        self._sent = coordination.script(_SENT)

    def settle(self, task_id: str, run: int, seconds: float, message: StoredMessage) -> bool:
        """Settle the run and keep its next one for `seconds`; False if the run was settled already."""
        return bool(self._store(self._settle_and_add, task_id, task_id, run, seconds, message))

    def copy(self, task_id: str, run: int, seconds: float, message: StoredMessage, name: str = "") -> None:
        """Keep a copy of a message for `seconds`, beside whatever the copy that runs leaves here.

        name: tells copies of different messages apart, of which the one that owns the delivery must not be lost.
        """
        self._store(self._add, task_id, f"{task_id}#copy{name}", run, seconds, message)

    def _store(
        self, script: object, task_id: str, member: str, run: int, seconds: float, message: StoredMessage
    ) -> object:
        arguments = self._ledger.settle_args(member, run)
        keys = [self._ledger.key(task_id), *self.keys]
        return script(keys=keys, args=[*arguments, int(seconds * 1000), message.to_json()])  # type: ignore[operator]

    def claim(self) -> Claim:
        """Lease what is due to the caller, who sends it and says so with `sent`."""
        lease, wait, found = self._claim(keys=self.keys, args=[_BATCH, int(_LEASE * 1000)])
        messages = {member: StoredMessage.from_json(text) for member, text in zip(found[::2], found[1::2], strict=True)}
        return Claim(str(lease), messages, None if int(wait) < 0 else int(wait) / 1000)

    def sent(self, claim: Claim, members: Collection[str]) -> None:
        """The broker has confirmed these of the claim; the others are due again when the lease ends."""
        if members:
            self._sent(keys=self.keys, args=[claim.lease, *members])

    def count(self) -> int:
        """How many are kept."""
        return int(self._client.zcard(self.keys[0]))
