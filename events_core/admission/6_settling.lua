-- What a run says while it lasts and when it ends, and what nobody else would do.

function operations.renew(member, token, gates, lease)
  if token_of(member) ~= token then return false end
  for _, gate in ipairs(gates) do redis.call('ZADD', held(gate), 'XX', now + lease, member) end
  redis.call('ZADD', GRANTED, 'XX', now + lease, member)
  return true
end

-- While a breaker is open only its probe counts: others began before that.
local function report(gate, member, failed)
  local open = redis.call('HEXISTS', state(gate), 'until') == 1
  if open and not redis.call('ZSCORE', held(gate), member) then return end
  if not failed then
    redis.call('DEL', state(gate))
    return
  end
  local failures = redis.call('HINCRBY', state(gate), 'failures', 1)
  local fail_max, reset = string.match(definition(gate) or '5 60000', '^(%S+) (%S+)$')
  if open or failures >= tonumber(fail_max) then redis.call('HSET', state(gate), 'until', now + reset) end
end

-- The run has ended with a result: done, dead, retry, busy or cancelled. failed: to a breaker; 0 if its handler was not
-- asked. -> false if it was not its any more
function operations.release(member, run, token, gates, result, failed)
  local info = load(member)
  -- leaving: its lease has ended, but its message, which is about to be acknowledged, is the only one there is
  local last = info and info.state == 'leaving' and info.run == run
  if token_of(member) ~= token and not last then return false end
  for _, gate in ipairs(gates) do
    if kind_of(gate) == 'breaker' and failed ~= 0 then report(gate, member, failed) end
  end
  if info and info.behind and (info.run > run or result == 'busy') then -- parked behind it before this was heard
    give_back(member, gates)
    for _, gate in ipairs(gates) do wake_later(gate) end
    info.starts = 0
    wait_at(member, info, info.gates[1], now)
  else
    operations.settle(member, gates, result)
  end
  return true
end

-- As release, whoever holds it: what was revoked, for example.
function operations.settle(member, gates, result)
  local info = load(member)
  local group = info and info.group
  if result == 'busy' then -- another copy of this run is under way: the same run asks again later
    if info then info.run = info.run - 1 end
    result = 'retry'
  end
  local kept = false
  if group and (info.state == 'retrying' or info.state == 'kept') then count(group, 'retrying', -1) end
  for _, gate in ipairs(info and info.gates or gates) do
    local holds = kind_of(gate) == 'order' and result == 'dead' and definition(gate) == 'hold'
    if info and sticky(gate) and (result == 'retry' or holds) then
      redis.call('ZADD', held(gate), FOREVER, member)
      kept = true
    else
      redis.call('ZREM', held(gate), member)
    end
    wake_later(gate)
  end
  redis.call('HDEL', TOKENS, member)
  redis.call('ZREM', GRANTED, member)
  if info then redis.call('HDEL', MESSAGES, member) end
  if info and info.at then redis.call('ZREM', waiting(info.at), member) end
  if kept or group and result == 'retry' then
    info.state = result == 'dead' and 'held' or kept and 'kept' or 'retrying'
    info.token, info.at = nil, nil
    if result == 'dead' then info.group = nil end -- it has been counted; redriven, it is not counted again
    save(member, info)
    if result == 'retry' then count(group, 'retrying', 1) end
  elseif info then
    redis.call('HDEL', INFO, member)
  end
  if group and result ~= 'retry' then settled_in_group(group, member, result) end
end

-- It was admitted with this token, and will not begin: as if it had not asked, but for what rates have counted.
-- Settled meanwhile by somebody who did not know its gates (it was revoked), it has them still, without a token.
function operations.relinquish(member, token, gates)
  local current, info = token_of(member), load(member)
  if current ~= token and (current or info) then return false end
  if info then
    info.starts = info.starts - 1
    save(member, info)
    lapse(member, gates[1])
  else
    give_back(member, gates)
    for _, gate in ipairs(gates) do wake_later(gate) end
  end
  return true
end

-- It was granted to this caller, who cannot run it: on its way to whoever can. -> whether the caller is to publish it
function operations.pass_on(member, token)
  local info = load(member)
  if not info or info.state ~= 'running' or info.token ~= token then return false end
  for _, gate in ipairs(info.gates) do
    if kind_of(gate) == 'rate' then
      redis.call('ZADD', held(gate), FOREVER, member)
    else
      redis.call('ZADD', held(gate), 'XX', FOREVER, member)
    end
  end
  redis.call('HSET', TOKENS, member, token)
  redis.call('ZADD', GRANTED, now + GRANT, member)
  info.state, info.behind = 'granted', nil
  info.starts = info.starts - 1
  save(member, info)
  return true
end

-- Dead before it was admitted: what is kept for it is given up; if a copy of it runs, when that ends or its lease does.
function operations.forgo(member)
  local info = load(member)
  if not info then return end
  if info.state ~= 'running' then return operations.settle(member, info.gates, 'dead') end
  info.doomed = true
  save(member, info)
end

-- Dead, and not redriven: those behind it need not wait any more.
function operations.let_go(member)
  local info = load(member)
  if info and info.state == 'held' then operations.settle(member, info.gates, 'done') end
end

-- The broker has these grants, {{member, token}, ...}: they may be behind a backlog there.
function operations.sent(grants)
  for _, grant in ipairs(grants) do
    local member, token = grant[1], grant[2]
    local info = load(member)
    if info and info.state == 'granted' and info.token == token then
      redis.call('ZADD', GRANTED, 'XX', now + ON_ITS_WAY, member)
    end
  end
end

-- What nobody would do otherwise: leases that ended, grants that were lost, gates that open by themselves.
function operations.sweep()
  local more = operations.look_at_changed()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', GRANTED, '-inf', now, 'LIMIT', 0, BATCH)) do
    redis.call('ZREM', GRANTED, member)
    lapse(member)
  end
  for _, gate in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, BATCH)) do
    expire(gate)
    wake_later(gate)
  end
  wake_all()
  local wait = more and 0 or nil
  for _, key in ipairs({ DUE, GRANTED }) do
    local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
    if first then wait = math.min(wait or FOREVER, math.max(first - now, 0)) end
  end
  return { wait or -1, redis.call('HLEN', MESSAGES) }
end

-- -> what tells this Redis from itself after it was emptied
function operations.epoch()
  local key = prefix .. 'gates:epoch'
  redis.call('SETNX', key, time[1] .. '.' .. time[2])
  return redis.call('GET', key)
end
