-- One gate: has it room, take a place in it, give it back.

local function give_back(member, gates)
  for _, gate in ipairs(gates) do redis.call('ZREM', held(gate), member) end
  redis.call('HDEL', TOKENS, member)
  redis.call('ZREM', GRANTED, member)
end

local function wait_at(member, info, gate, when)
  info.state = 'waiting'
  info.at = gate
  info.since = info.since or now
  info.token, info.behind = nil, nil
  save(member, info)
  redis.call('ZADD', waiting(gate), info.place, member)
  look_at(gate, when)
  if when <= now then wake_later(gate) end -- it has room, and others are before this one
end

-- Whoever held its gates did not say that it has ended: what was parked here waits again, at its old place. gate: one
-- that it was found to hold; nil if it holds none with a lease.
local function lapse(member, gate)
  local info = load(member)
  if not info then
    give_back(member, { gate })
    return gate and wake_later(gate)
  end
  if info.state ~= 'running' and info.state ~= 'granted' then -- it holds this from before it was parked
    if gate then redis.call('ZREM', held(gate), member) end
    return gate and wake_later(gate)
  end
  give_back(member, info.gates)
  for _, other in ipairs(info.gates) do wake_later(other) end -- the first one first: there it waits again
  if redis.call('HEXISTS', MESSAGES, member) == 1 then return wait_at(member, info, info.gates[1], now) end
  if info.doomed then return operations.settle(member, info.gates, 'dead') end
  info.state, info.token = 'leaving', nil -- the broker has its message, and will deliver it again
  for _, other in ipairs(info.gates) do
    if sticky(other) then redis.call('ZADD', held(other), FOREVER, member) end
  end
  save(member, info)
end

local function expire(gate)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held(gate), '-inf', now)) do lapse(member, gate) end
end

local function first_end(gate)
  return tonumber(redis.call('ZRANGE', held(gate), 0, 0, 'WITHSCORES')[2])
end

local function places(gate)
  local kind = kind_of(gate)
  return (kind == 'order' or kind == 'breaker') and 1 or tonumber(definition(gate))
end

-- Whether one more may pass, and if not, when that may change by itself.
local function room(gate)
  local kind = kind_of(gate)
  if kind == 'pause' then
    return redis.call('SISMEMBER', prefix .. 'paused', string.match(gate, '^pause:(.*)|')) == 0, FOREVER
  end
  if not definition(gate) then return false, now + 1000 end
  if kind == 'rate' then
    local interval, burst = string.match(definition(gate), '^(%S+) (%S+)$')
    local ahead = math.max((burst - 1) * interval, TOLERANCE)
    local free = math.ceil(tonumber(redis.call('GET', state(gate)) or 0) - ahead)
    -- what is granted must begin before more is: else a backlog on its way would begin all at once. The longer it does
    -- not, the later is the next look; when it does, there is one in time
    if redis.call('ZCARD', held(gate)) > ahead / interval then
      return false, free > now and free or now + math.ceil(math.max(interval, TOLERANCE, now - free))
    end
    return free <= now, free
  end
  if kind == 'breaker' then
    local open = tonumber(redis.call('HGET', state(gate), 'until') or 0)
    if open == 0 then return true end
    if open > now then return false, open end
  end
  if redis.call('ZCARD', held(gate)) < places(gate) then return true end
  local first = first_end(gate) or FOREVER -- a limit of 0 has no holders to wait for
  if first > now then return false, first end
  expire(gate)
  if redis.call('ZCARD', held(gate)) < places(gate) then return true end
  return false, first_end(gate) or FOREVER
end

-- GCRA: the moment from which on the gate is as if nothing had passed.
local function free_from(gate, moment)
  redis.call('SET', state(gate), string.format('%.3f', moment), 'PX', math.ceil(moment - now) + 1000)
end

-- One that was granted begins: late perhaps, and then the next must not follow at once.
local function begins(gate, member)
  if redis.call('ZREM', held(gate), member) == 0 then return end
  local interval = string.match(definition(gate), '^%S+')
  free_from(gate, math.max(tonumber(redis.call('GET', state(gate)) or 0), now + interval))
  wake_later(gate)
end

-- -> whether it keeps a lease of the member
local function take(gate, member, lease_end)
  local kind = kind_of(gate)
  if kind == 'rate' then
    local interval = string.match(definition(gate), '^%S+')
    free_from(gate, math.max(tonumber(redis.call('GET', state(gate)) or 0), now) + interval)
    if lease_end == FOREVER then redis.call('ZADD', held(gate), FOREVER, member) end
    return false
  elseif kind == 'pause' or kind == 'breaker' and redis.call('HEXISTS', state(gate), 'until') == 0 then
    return false
  end -- a breaker that was open: this one is its probe
  redis.call('ZADD', held(gate), lease_end, member)
  look_at(gate, lease_end) -- for ever even: by this key one finds all gates in use
  return true
end

-- The first gate that does not let the member pass, and when to look at it. Nobody overtakes who waits before it;
-- a newcomer has no place yet. passed: a gate where it was found to be the next.
local function blocked(member, gates, place, passed)
  for _, gate in ipairs(gates) do
    local has_it = gate == passed or sticky(gate) and redis.call('ZSCORE', held(gate), member)
    if not has_it then
      local free, when = room(gate)
      if not free then return gate, when end
      local first = redis.call('ZRANGE', waiting(gate), 0, 0, 'WITHSCORES')[2]
      if first and (not place or tonumber(first) < place) then return gate, now end
    end
  end
end

-- Before the member waits at a gate: those before it that it must not give up.
local function stick(member, gates, at)
  for _, gate in ipairs(gates) do
    if gate == at then return end
    if sticky(gate) then take(gate, member, FOREVER) end
  end
end
