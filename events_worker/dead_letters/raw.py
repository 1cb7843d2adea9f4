"""How many bytes are kept of what is no delivery and no event.

Whoever sends garbage without end must not fill the Redis that the retries of orders wait in: of the newest the bytes
are kept, of many more the letter. Everything is counted where it comes in.
"""

from __future__ import annotations

from collections.abc import Sequence

from events_core.coordination import Coordination

#: Bytes kept of one message.
LONGEST_RAW = 262_144
#: Bytes kept of all of them together, in base64; and letters.
_ALL, _LETTERS = 64 * 1024 * 1024, 100_000

# KEYS[1]: raw letters by time; KEYS[2]: those that have their bytes; KEYS[3]: how many bytes, and '' of all together.
_FREE = """
local function free(id)
  local size = redis.call('HGET', KEYS[3], id)
  if size then
    redis.call('ZREM', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
    redis.call('HINCRBY', KEYS[3], '', -size)
  end
end
"""
# One more of them. Tells which of the oldest lose their bytes for it, and which go.
_ADD = (
    _FREE
    + """
free(ARGV[1])
local time = redis.call('TIME')
local now = string.format('%s.%06d', time[1], time[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[3], '', ARGV[2])
local forgotten = redis.call('ZRANGE', KEYS[1], 0, -ARGV[4] - 1)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[4] - 1)
for _, id in ipairs(forgotten) do free(id) end
local shortened = {}
while tonumber(redis.call('HGET', KEYS[3], '')) > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest or oldest == ARGV[1] then break end
  free(oldest)
  table.insert(shortened, oldest)
end
return {shortened, forgotten}
"""
)
_REMOVE = (
    _FREE
    + """
for _, id in ipairs(ARGV) do
  free(id)
  redis.call('ZREM', KEYS[1], id)
end
return 1
"""
)


class RawLetters:
    """Which dead letters have bytes of their own. Raises redis.RedisError."""

    def __init__(self, coordination: Coordination) -> None:
        self.keys = [
            coordination.key("dead:raw"),
            coordination.key("dead:raw:bytes"),
            coordination.key("dead:raw:sizes"),
        ]
        self._add = coordination.script(_ADD)
        self._remove = coordination.script(_REMOVE)

    def add(self, letter_id: str, size: int) -> tuple[list[str], list[str]]:
        """One more; those of which the bytes go for it, and those that go. size: bytes."""
        shortened, forgotten = self._add(keys=self.keys, args=[letter_id, size, _ALL, _LETTERS])
        return shortened, forgotten

    def remove(self, letter_ids: Sequence[str]) -> None:
        """They are gone."""
        self._remove(keys=self.keys, args=letter_ids)
