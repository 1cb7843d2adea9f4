-- Which definition of a gate is in force: what an operator has set, else that of the newest deployment.
--   gates:override          hash "kind:name" -> definition
--   gates:declared:<name>   hash definition -> "first last": when a worker declared it first and last
--   gates:changed           hash "kind:name" -> from where on in gates:due its keys are to be looked at
local ALIVE = 90000 -- a definition that no worker has declared for so long does not count any more

-- All that wait under this name: there may be room now. So many in one call; the rest with the next sweeps.
local function look_at_keys(name, cursor)
  local found = redis.call('ZSCAN', DUE, cursor, 'COUNT', 1000)
  for index = 1, #found[2], 2 do
    local gate = found[2][index]
    if string.sub(gate, 1, #name + 1) == name .. '|' then look_at(gate, now) end
  end
  if found[1] == '0' then
    redis.call('HDEL', prefix .. 'gates:changed', name)
  else
    redis.call('HSET', prefix .. 'gates:changed', name, found[1])
  end
  return found[1] ~= '0'
end

-- -> whether there is more to do
function operations.look_at_changed()
  local more = false
  local changed = redis.call('HGETALL', prefix .. 'gates:changed')
  for index = 1, #changed, 2 do more = look_at_keys(changed[index], changed[index + 1]) or more end
  return more
end

local function put_in_force(name, chosen)
  local gates = prefix .. 'gates'
  if redis.call('HGET', gates, name) == chosen then return end
  if chosen then redis.call('HSET', gates, name, chosen) else redis.call('HDEL', gates, name) end
  definitions[name] = nil
  look_at_keys(name, '0')
end

local function choose(name)
  local set = redis.call('HGET', prefix .. 'gates:override', name)
  if set then return put_in_force(name, set) end
  local chosen, newest
  local declared = redis.call('HGETALL', prefix .. 'gates:declared:' .. name)
  for index = 1, #declared, 2 do
    local first, last = string.match(declared[index + 1], '^(%S+) (%S+)$')
    if tonumber(last) + ALIVE >= now and (not newest or tonumber(first) > newest) then
      chosen, newest = declared[index], tonumber(first)
    end
  end
  put_in_force(name, chosen)
end

-- Workers say from time to time what their code defines.
function operations.declare(wanted)
  for name, defined in pairs(wanted) do
    local key = prefix .. 'gates:declared:' .. name
    local first, last = string.match(redis.call('HGET', key, defined) or '', '^(%S+) (%S+)$')
    if not first or tonumber(last) + ALIVE < now then first = now end
    redis.call('HSET', key, defined, string.format('%.0f %.0f', first, now))
    redis.call('PEXPIRE', key, 10 * ALIVE)
    choose(name)
  end
end

function operations.override(name, defined)
  if defined then
    redis.call('HSET', prefix .. 'gates:override', name, defined)
  else
    redis.call('HDEL', prefix .. 'gates:override', name)
  end
  choose(name)
end

function operations.pause(handler) redis.call('SADD', prefix .. 'paused', handler) end

function operations.resume(handler)
  redis.call('SREM', prefix .. 'paused', handler)
  wake_later('pause:' .. handler .. '|')
end

-- A holder that is known to be dead; what was parked of it waits again.
function operations.evict(member, gate)
  if not redis.call('ZSCORE', held(gate), member) then return false end
  lapse(member, gate)
  return true
end
