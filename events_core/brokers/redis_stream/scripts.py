"""What Redis runs for consumer groups of a stream, each in one step. They need Redis 6.2."""

from __future__ import annotations

#: The consumer in whose name lies what was given back. Nobody reads under it.
RETURNED = "returned"

# Milliseconds for which what was given back is said to have been idle: three years, more than anyone waits before it
# takes over. So it is claimed with the next read.
_LONG_IDLE = "100000000000"

# KEYS: a stream. ARGV: group, the id after which it begins to read. Creates both; returns 0 where they are there.
# The group is told how many entries were added before it, where Redis counts them (7.0): the number that were dropped
# unread is found by that.
CREATE = """
local function create(...)
  return redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM', ...)
end
local added
if ARGV[2] == '$' then
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if info.err then
    added = 0
  else
    for i = 1, #info, 2 do
      if info[i] == 'entries-added' then added = info[i + 1] end
    end
  end
end
local reply = added and create('ENTRIESREAD', added) or create()
if reply.err and added and not string.find(reply.err, 'BUSYGROUP') then reply = create() end
if reply.err and string.find(reply.err, 'BUSYGROUP') then return 0 end
if reply.err then return reply end
return 1
"""

# KEYS: a stream. ARGV: group. Returns how many entries were dropped before the group had read them, and how many it
# still has to read; nothing where Redis does not count. What was told of is not told again.
LOSSES = """
local function fields(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end
local function before(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms < other_ms or (ms == other_ms and seq < other_seq)
end
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if info.err or groups.err then return {} end
local stream = fields(info)
for _, list in ipairs(groups) do
  local group = fields(list)
  if group['name'] == ARGV[1] then
    local read, added, first = group['entries-read'], stream['entries-added'], stream['first-entry']
    if not read or not added then return {} end
    local lost = 0
    if first and before(group['last-delivered-id'], first[1]) then
      lost = math.max(added - stream['length'] - read, 0)
      if lost > 0 then
        read = added - stream['length']
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], group['last-delivered-id'], 'ENTRIESREAD', read)
      end
    end
    return {lost, added - read}
  end
end
return {}
"""

# KEYS: a stream. ARGV: group, the name for what is given back, ids. Gives these back: the next read claims them.
GIVE_BACK = f"""
for i = 3, #ARGV do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', {_LONG_IDLE}, 'JUSTID')
end
return #ARGV - 2
"""

# KEYS: a stream. ARGV: group, the name for what is given back, consumer. Gives back all that the consumer holds, and
# removes it.
RELEASE = f"""
while true do
  local entries = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[3])
  if entries.err then return 0 end
  for _, entry in ipairs(entries) do
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', {_LONG_IDLE}, 'JUSTID')
  end
  if #entries < 1000 then break end
end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[3])
"""

# KEYS: a stream. ARGV: group, milliseconds. Removes consumers that hold nothing and did nothing for so long.
FORGET_DEAD = """
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
for _, list in ipairs(consumers) do
  local name, pending, idle
  for i = 1, #list, 2 do
    if list[i] == 'name' then name = list[i + 1] end
    if list[i] == 'pending' then pending = list[i + 1] end
    if list[i] == 'idle' then idle = list[i + 1] end
  end
  if pending == 0 and idle > tonumber(ARGV[2]) then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name) end
end
return 0
"""

# KEYS: a stream. ARGV: group. Deletes the group, if both are there.
DESTROY = """
local reply = redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
if type(reply) == 'table' and reply.err then return 0 end
return reply
"""
