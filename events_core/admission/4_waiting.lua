-- Parked deliveries: granted in order, whenever there is room at the gate where they wait.

-- Publishes a grant where the caller's broker has its streams here, in the same step; otherwise the caller does.
-- -> whether that is done
local function publish(member, token, message)
  local stream, first, second = string.match(message, '^([^\n]*)\n([^\n]*)\n(.*)$')
  if not stream or streams == '' or string.sub(stream, 1, #streams) ~= streams then
    table.insert(grants, { member, token, message })
    return false
  end
  local added = redis.pcall('XADD', stream, '*', 'm', first .. string.format('%.0f', token) .. second)
  if type(added) == 'string' then return true end
  table.insert(troubles, 'Redis does not add to ' .. stream .. ': ' .. added.err)
  return false
end

-- It begins. lease: milliseconds from now.
local function begin(member, info, run, gates, lease)
  local token = info and info.token or number()
  local leased = false
  for _, gate in ipairs(gates) do
    if not (info and info.token) then
      leased = take(gate, member, now + lease) or leased
    elseif kind_of(gate) == 'rate' then
      begins(gate, member)
    elseif redis.call('ZADD', held(gate), 'XX', 'CH', now + lease, member) == 1 then -- the grant took it, for ever
      look_at(gate, now + lease)
      leased = true
    end
  end
  redis.call('HSET', TOKENS, member, string.format('%.0f:%.0f %.0f %s', token, run, now, caller))
  if not leased then
    redis.call('ZADD', GRANTED, now + lease, member)
  elseif info then
    redis.call('ZREM', GRANTED, member)
  end
  if not info then return { 'go', token, 0 } end
  info.token = token
  info.state = 'running'
  info.doomed = nil
  info.since = nil
  info.starts = info.starts + 1
  save(member, info)
  return { 'go', token, info.starts - 1 }
end

local function grant(member, info)
  if stopped(info.group) then return operations.settle(member, info.gates, 'cancelled') end
  local message = redis.call('HGET', MESSAGES, member)
  if not message then
    table.insert(troubles, 'the message of ' .. member .. ' is not in Redis any more: it was evicted, or deleted')
    return operations.settle(member, info.gates, 'cancelled')
  end
  info.at = nil
  if room_there > 0 then
    room_there = room_there - 1
    local _, token, unfinished = unpack(begin(member, info, info.run, info.gates, GRANT))
    return table.insert(grants, { member, token, message, unfinished, info.gates })
  end
  local token = number()
  for _, gate in ipairs(info.gates) do take(gate, member, FOREVER) end -- until it begins, GRANTED has its time
  redis.call('HSET', TOKENS, member, token)
  info.state = 'granted'
  info.token = token
  save(member, info)
  local published = publish(member, token, message)
  redis.call('ZADD', GRANTED, now + (published and ON_ITS_WAY or GRANT), member)
end

-- Sets when to look at the gate again: when what waits there may pass, or else when a lease ends. One that nobody uses is
-- forgotten.
local function plan(gate, may_pass)
  local when = may_pass or first_end(gate)
  if when then
    redis.call('ZADD', DUE, math.min(when, now + 60000), gate)
  else
    redis.call('ZREM', DUE, gate)
  end
end

local function wake(gate)
  local may_pass
  while redis.call('EXISTS', waiting(gate)) == 1 do
    local free, when = room(gate)
    may_pass = free and now or when
    -- the lease of a holder has just ended: it comes before the others, in a moment
    if not free or looks == 0 or woken[gate] then break end
    looks = looks - 1
    local member = redis.call('ZPOPMIN', waiting(gate))[1]
    local info = load(member)
    if info and info.at == gate then
      local other, at = blocked(member, info.gates, info.place, gate)
      if other then
        stick(member, info.gates, other)
        wait_at(member, info, other, at)
      else
        grant(member, info)
      end
    end
    may_pass = nil
  end
  plan(gate, may_pass)
end

local function wake_all()
  while to_wake[1] do -- who is woken at one gate may have to be woken at another
    local gate = table.remove(to_wake, 1)
    woken[gate] = nil
    wake(gate)
  end
end
