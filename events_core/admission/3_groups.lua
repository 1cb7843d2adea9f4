-- Groups: counted when a member is settled, once each.
--   group:<id>         hash: total, done, dead, cancelled, retrying, sealed, stopped, abandoned, completed (times), and
--                      what its emitter has said: max, name, created, completion, cause, repeats
--   group:settled:<id> set: its members that were settled while it is being emitted by something that may be repeated
--   groups:completed   zset id -> when to emit its completion event (again)
--   groups:open        zset id -> until when its emitter is believed to be alive

local function group_key(id) return prefix .. 'group:' .. id end
local function members_key(id) return prefix .. 'group:settled:' .. id end

local function count(id, what, by)
  if id and redis.call('EXISTS', group_key(id)) == 1 then redis.call('HINCRBY', group_key(id), what, by) end
end

local function stopped(id) return id and redis.call('HEXISTS', group_key(id), 'stopped') == 1 end

-- How many members are left to be done.
local function unsettled(id)
  local found = redis.call('HMGET', group_key(id), 'total', 'done', 'dead', 'cancelled')
  for index = 1, 4 do found[index] = tonumber(found[index] or 0) end
  return found[1] - found[2] - found[3] - found[4]
end

local function complete(id)
  if redis.call('HEXISTS', group_key(id), 'sealed') == 0 or unsettled(id) > 0 then return end
  if redis.call('HSETNX', group_key(id), 'completed', now) == 1 then
    redis.call('ZADD', prefix .. 'groups:completed', now, id)
  end
end

local function settled_in_group(id, member, result)
  local max, repeats = unpack(redis.call('HMGET', group_key(id), 'max', 'repeats'))
  if max then redis.call('HINCRBY', group_key(id), result, 1) end -- else it has been freed
  -- whoever emits it may be run again, and enter all members again
  if repeats then redis.call('SADD', members_key(id), member) end
  complete(id)
end

-- A member is entered: it is counted, once. -> whether it is to run
local function join(id, member)
  if redis.call('SISMEMBER', members_key(id), member) == 1 then return false end
  count(id, 'total', 1)
  if stopped(id) then settled_in_group(id, member, 'cancelled') end
  return not stopped(id)
end
