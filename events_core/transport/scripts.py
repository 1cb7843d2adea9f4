"""The scripts that Redis runs for the transport, each in one step. They need Redis 6.2.

A process consumes under names of the form ``{process}/{number}``, one for each connection it reads from.
"""

from __future__ import annotations

_NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

# KEYS: streams, the most urgent first. ARGV: group, the name for what was given back, consumer, how many messages at
# most, how many streams are of one urgency. Gives for each stream that had messages: its name, {id, message, ...} of
# the new ones, {id, message, how often it was delivered in vain, ...} of those that were given back.
READ = """
local group, returned, consumer = ARGV[1], ARGV[2], ARGV[3]
local free, width = tonumber(ARGV[4]), tonumber(ARGV[5])
local found = {}

local function message(fields)
  if fields[1] == 'm' then return fields[2] end
  return table.concat(fields, ' ')
end

local function pending(key, count)
  local entries = redis.pcall('XPENDING', key, group, '-', '+', count, returned)
  if not entries.err then return entries end
  if not string.find(entries.err, 'NOGROUP') then return nil, entries end
  redis.call('XDEL', key, '0-0') -- does nothing; a full Redis allows it, and then the rest of the script
  redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
  return {}
end

local function take(key, count)
  local entries, failure = pending(key, count)
  if failure then return failure end
  local new, again = {}, {}
  for _, entry in ipairs(entries) do
    local claimed = redis.call('XCLAIM', key, group, consumer, 0, entry[1])[1]
    if claimed and claimed[2] then
      again[#again + 1] = entry[1]
      again[#again + 1] = message(claimed[2])
      again[#again + 1] = entry[4]
      count = count - 1
      free = free - 1
    else -- deleted while it was pending
      redis.call('XACK', key, group, entry[1])
    end
  end
  if count > 0 then
    local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', key, '>')
    for _, entry in ipairs(read and read[1][2] or {}) do
      new[#new + 1] = entry[1]
      new[#new + 1] = message(entry[2])
      free = free - 1
    end
  end
  if #new + #again > 0 then found[#found + 1] = {key, new, again} end
end

for first = 1, #KEYS, width do
  local share = math.ceil(free / width) -- of each queue, then whatever is left of any
  local more = {} -- which may have more than their share
  for at = first, first + width - 1 do
    if free <= 0 then return found end
    local count, before = math.min(share, free), free
    local failure = take(KEYS[at], count)
    if failure then return failure end
    if before - free == count then more[#more + 1] = KEYS[at] end
  end
  for _, key in ipairs(more) do
    if free <= 0 then return found end
    local failure = take(key, free)
    if failure then return failure end
  end
end
return found
"""

# KEYS: a stream. ARGV: group, the name for what is given back, process, 1 if the delivery was in vain or 0 if it does
# not count, ids. Gives back those of the entries that the process still holds.
GIVE_BACK = """
local given = 0
for i = 5, #ARGV do
  local entries = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if entries.err then return given end -- the stream is gone, and the entries with it
  local entry = entries[1]
  if entry and string.sub(entry[2], 1, #ARGV[3] + 1) == ARGV[3] .. '/' then
    local count = math.max(entry[4] - 1 + ARGV[4], 0)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', count, 'JUSTID')
    given = given + 1
  end
end
return given
"""

# KEYS: a stream. ARGV: group, the name for what is given back, consumer, ids to keep. Gives back what lies in the
# consumer's name besides: nobody has seen it, so that its delivery does not count. A consumer left with nothing is
# removed.
RELEASE = """
local keep = {}
for i = 4, #ARGV do keep[ARGV[i]] = true end
local left, given, start = 0, 0, '-'
while true do
  local entries = redis.pcall('XPENDING', KEYS[1], ARGV[1], start, '+', 1000, ARGV[3])
  if entries.err then return {0, 0} end
  for _, entry in ipairs(entries) do
    if keep[entry[1]] then
      left = left + 1
    else
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'RETRYCOUNT', math.max(entry[4] - 1, 0), 'JUSTID')
      given = given + 1
    end
    start = '(' .. entry[1]
  end
  if #entries < 1000 then break end
end
if left == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[3]) end
return {given, left}
"""

# KEYS: the processes alive. ARGV: process, milliseconds for which it is presumed alive from now on.
ALIVE = (
    _NOW
    + """
local till = now() + ARGV[2]
-- First what a full Redis allows: after it, it allows the script all the rest.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now() - 10 * ARGV[2])
redis.call('ZADD', KEYS[1], till, ARGV[1])
if redis.call('PTTL', KEYS[1]) < 20 * ARGV[2] then redis.call('PEXPIRE', KEYS[1], 20 * ARGV[2]) end
return till
"""
)

# KEYS: a stream, the processes alive. ARGV: group, the name for what is given back, process, how many entries at most.
# Gives back what dead processes hold: those deliveries count. Dead consumers that hold nothing are removed. Returns how
# many went back, and the process's own consumer names.
RECOVER = (
    _NOW
    + """
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return {0, {}} end
local time, room = now(), tonumber(ARGV[4])
local recovered, own = 0, {}
for _, consumer in ipairs(consumers) do
  local name, held = consumer[2], consumer[4]
  local process = string.match(name, '^(.*)/%d+$')
  if process == ARGV[3] then own[#own + 1] = name end
  local till = process and process ~= ARGV[3] and (redis.call('ZSCORE', KEYS[2], process) or 0)
  if till and tonumber(till) < time then
    if held > 0 then
      for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', room, name)) do
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'RETRYCOUNT', entry[4], 'JUSTID')
        held = held - 1
        room = room - 1
        recovered = recovered + 1
      end
    end
    if held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name) end
    if room <= 0 then break end
  end
end
return {recovered, own}
"""
)

# KEYS: streams. ARGV: group, the name for what was given back. How many messages wait.
SIZE = """
local size = 0
for _, key in ipairs(KEYS) do
  size = size + redis.call('XLEN', key)
  local pending = redis.pcall('XPENDING', key, ARGV[1])
  if not pending.err then
    size = size - pending[1]
    for _, consumer in ipairs(pending[4] or {}) do
      if consumer[1] == ARGV[2] then size = size + consumer[2] end
    end
  end
end
return math.max(size, 0)
"""

# KEYS: a stream. ARGV: group, the name for what was given back, how many at most. Deletes messages that wait.
PURGE = """
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return 0 end
local last
for _, group in ipairs(groups) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' and group[2] == ARGV[1] then last = group[i + 1] end
  end
end
local room, purged = tonumber(ARGV[3]), 0
if last then
  for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', room, ARGV[2])) do
    redis.call('XACK', KEYS[1], ARGV[1], entry[1])
    purged = purged + redis.call('XDEL', KEYS[1], entry[1])
  end
end
if purged < room then
  local start = last and '(' .. last or '-'
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', room - purged)) do
    purged = purged + redis.call('XDEL', KEYS[1], entry[1])
  end
end
return purged
"""

# KEYS: streams of one queue. ARGV: group, the process that leaves. Deletes them if no other process consumes.
DELETE_UNUSED = """
for _, key in ipairs(KEYS) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', key, ARGV[1])
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local process = string.match(consumer[2], '^(.*)/%d+$')
    if process and process ~= ARGV[2] then return 0 end
  end
end
return redis.call('DEL', unpack(KEYS))
"""

# KEYS: a stream. ARGV: the messages to add. In one command however many there are.
ADD = "for _, message in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'm', message) end return #ARGV"
