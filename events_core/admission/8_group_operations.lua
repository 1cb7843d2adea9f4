-- Groups, as their emitters ask for them, and whoever looks after them.
local function open_key() return prefix .. 'groups:open' end
local function completed_key() return prefix .. 'groups:completed' end
local DAY = 86400000
local AT_ONCE = 10 -- groups looked after in one script

-- Begin a group, or go on with it; before each part of its members. lease: until its emitter counts as dead; 0 if it
-- has given up. fields: what is to be known of it. entered: how many it has entered, as far as its emitter knows.
-- -> false if it is sealed already, lost if it is not known any more
function operations.open(id, max, lease, fields, entered)
  local key = group_key(id)
  if (entered or 0) > 0 and redis.call('EXISTS', key) == 0 then return 'lost' end
  if redis.call('HEXISTS', key, 'sealed') == 1 then return false end
  if redis.call('HSETNX', key, 'max', max) == 1 then
    for name, value in pairs(fields) do redis.call('HSET', key, name, value) end
  end
  redis.call('HSET', prefix .. 'gates', 'group:' .. id, max)
  definitions['group:' .. id] = nil
  redis.call('HDEL', key, 'abandoned')
  redis.call('PERSIST', key)
  redis.call('PERSIST', members_key(id))
  redis.call('ZADD', open_key(), now + lease, id)
  return true
end

-- Its emitter has entered all members.
function operations.seal(id)
  if redis.call('EXISTS', group_key(id)) == 0 then return false end
  redis.call('HSETNX', group_key(id), 'sealed', now)
  redis.call('HDEL', group_key(id), 'repeats')
  redis.call('DEL', members_key(id))
  redis.call('ZREM', open_key(), id)
  complete(id)
  return true
end

-- Nothing of it is left to be done: forget all but its figures, and those in a day.
function operations.free(id)
  redis.call('ZREM', completed_key(), id)
  redis.call('ZREM', open_key(), id)
  redis.call('HDEL', prefix .. 'gates', 'group:' .. id)
  definitions['group:' .. id] = nil
  redis.call('PEXPIRE', members_key(id), DAY) -- an emitter that gave up may still be run again
  redis.call('PEXPIRE', group_key(id), DAY)
end

-- Groups whose completion event is to be emitted, each told to one caller for the time of its lease; who then frees it.
-- -> {{id, total, done, dead, cancelled, name, completion, cause}, ...}
function operations.completed(lease)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', completed_key(), '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    redis.call('ZADD', completed_key(), now + lease, id)
    local group = redis.call('HMGET', group_key(id), 'total', 'done', 'dead', 'cancelled', 'name', 'completion', 'cause')
    table.insert(group, 1, id)
    table.insert(found, group)
  end
  return found
end

-- Groups whose emitter has died before it sealed them; freed when nothing of them is left, looked at again until then.
-- -> those found first now: {{id, total, name}, ...}
function operations.abandoned(pause)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', open_key(), '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    if redis.call('EXISTS', group_key(id)) == 1 and redis.call('HSETNX', group_key(id), 'abandoned', now) == 1 then
      table.insert(found, { id, unpack(redis.call('HMGET', group_key(id), 'total', 'name')) })
    end
    if unsettled(id) == 0 then operations.free(id) else redis.call('ZADD', open_key(), now + pause, id) end
  end
  return found
end

-- -> false if it is unknown, or {state, max, total, done, dead, cancelled, retrying, places taken}
function operations.progress(id)
  local found = redis.call(
    'HMGET', group_key(id), 'max', 'total', 'done', 'dead', 'cancelled', 'retrying', 'sealed', 'completed', 'abandoned'
  )
  if redis.call('EXISTS', group_key(id)) == 0 then return false end
  local emitting = tonumber(redis.call('ZSCORE', open_key(), id) or 0) > now and not found[9]
  local state = found[8] and 'completed' or found[7] and 'running' or emitting and 'emitting' or 'abandoned'
  local progress = { state }
  for index = 1, 6 do table.insert(progress, tonumber(found[index] or 0)) end
  table.insert(progress, redis.call('ZCARD', held('group:' .. id .. '|')))
  return progress
end

-- What of it has not begun never will. A part of what waits: call it again with the cursor that it gives, from '0' to
-- '0'. If nobody does, the rest is cancelled when its turn comes. -> false if the group is unknown
function operations.cancel(id, cursor)
  local key = group_key(id)
  if redis.call('EXISTS', key) == 0 then return false end
  if redis.call('HEXISTS', key, 'completed') == 1 then return '0' end
  redis.call('HSETNX', key, 'stopped', now)
  local found = redis.call('HSCAN', INFO, cursor, 'COUNT', 500)
  for index = 1, #found[2], 2 do
    local info = cjson.decode(found[2][index + 1])
    if info.group == id and (info.state == 'waiting' or info.state == 'granted') then
      operations.settle(found[2][index], info.gates, 'cancelled')
    end
  end
  return found[1]
end
