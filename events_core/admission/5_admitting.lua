-- What a run asks for before it begins.

local function undeclared(gates)
  for _, gate in ipairs(gates) do
    if kind_of(gate) ~= 'pause' and not definition(gate) then return string.match(gate, '^[^|]*') end
  end
end

local function covers(has, wants)
  local found = {}
  for _, gate in ipairs(has) do found[gate] = true end
  for _, gate in ipairs(wants) do
    if not found[gate] then return false end
  end
  return true
end

-- What is known of a newcomer: something only where its gates must stay its own until it comes back.
local function newcomer(run, gates)
  for _, gate in ipairs(gates) do
    if sticky(gate) then return { gates = gates, run = run, place = number(), starts = 0 } end
  end
end

-- Its last run was settled, or has not begun: what it still has of its gates is given back, but for sticky ones.
local function start_over(member, info, run, gates)
  if info.state == 'retrying' or info.state == 'kept' then count(info.group, 'retrying', -1) end
  for _, gate in ipairs(info.gates) do
    if sticky(gate) and covers(gates, { gate }) then
      redis.call('ZADD', held(gate), 'XX', FOREVER, member) -- whatever becomes of this run, nobody overtakes
    else
      redis.call('ZREM', held(gate), member)
    end
    wake_later(gate)
  end
  redis.call('HDEL', TOKENS, member)
  redis.call('ZREM', GRANTED, member)
  if info.at then redis.call('ZREM', waiting(info.at), member) end
  if run > info.run then
    info.starts = 0
    redis.call('HDEL', MESSAGES, member)
  end
  info.run, info.gates, info.token, info.at = run, gates, nil, nil
end

-- Its state is kept here: it was parked, or belongs to a group or an order. message: to park it with, if it must.
local function again(member, info, run, gates, lease, token, message)
  local ended = info.state == 'retrying' or info.state == 'kept' or info.state == 'held'
  if run < info.run or run == info.run and ended then return { 'settled' } end
  if stopped(info.group) and (info.state ~= 'running' or run > info.run) then
    operations.settle(member, gates, 'cancelled')
    return { 'settled' }
  end
  local granted = info.state == 'granted' and token == info.token
  if granted and covers(info.gates, gates) then return begin(member, info, run, gates, lease) end
  if run == info.run and not granted and info.state ~= 'leaving' then
    if message then redis.call('HSETNX', MESSAGES, member, message) end
    if info.state == 'running' then
      info.behind = true
      save(member, info)
    end
    return { redis.call('HEXISTS', MESSAGES, member) == 1 and 'parked' or 'busy' }
  end
  start_over(member, info, run, gates) -- or its gates have changed since it was parked; it keeps its place
  local gate, when = blocked(member, gates, info.place)
  if not gate then return begin(member, info, run, gates, lease) end
  if message then redis.call('HSET', MESSAGES, member, message) end
  if redis.call('HEXISTS', MESSAGES, member) == 0 then -- it comes with the operation `park`
    info.state = 'leaving'
    save(member, info)
    return { 'blocked', gate }
  end
  stick(member, gates, gate)
  wait_at(member, info, gate, when)
  return { 'parked' }
end

-- May this run begin? -> go, token, unfinished starts | blocked, gate | busy | parked | settled | undeclared, name
-- token: of the grant that it is, or 0. Whether its message says that it was delivered before is not asked: a worker
-- that has lost its connection still has messages that others have got since.
function operations.acquire(member, run, gates, lease, token)
  local missing = undeclared(gates)
  if missing and kind_of(missing) == 'group' then return { 'settled' } end -- the group has been freed: all of it was
  if missing then return { 'undeclared', missing } end
  local info = load(member)
  if info then return again(member, info, run, gates, lease, token) end
  if token ~= 0 and token <= tonumber(redis.call('GET', prefix .. 'gates:counter') or 0) then return { 'settled' } end
  if redis.call('HEXISTS', TOKENS, member) == 1 then return { 'busy' } end
  local gate = blocked(member, gates)
  if gate then return { 'blocked', gate } end
  return begin(member, newcomer(run, gates), run, gates, lease)
end

local function keep(member, run, gates, message, gate, when)
  redis.call('HSET', MESSAGES, member, message)
  stick(member, gates, gate)
  wait_at(member, { gates = gates, run = run, place = number(), starts = 0 }, gate, when)
end

-- What it lost at one gate, it may still have at another.
local function forget_places(member, gates)
  for _, gate in ipairs(gates) do
    if redis.call('ZREM', held(gate), member) == 1 then wake_later(gate) end
  end
end

-- One that nobody knows yet: keep its message. If nothing blocks it, it is granted at once, unless others that wait come
-- before it. -> waits | granted | asks: it is known, or its gates are not, and it is to ask for itself
function operations.line_up(member, run, gates, message)
  if undeclared(gates) or redis.call('HEXISTS', INFO, member) == 1 or token_of(member) then return 'asks' end
  forget_places(member, gates)
  local gate, when = blocked(member, gates)
  keep(member, run, gates, message, gate or gates[1], when or now)
  if gate then return 'waits' end
  wake_later(gates[1])
  wake_all() -- the next operation is about one that comes behind it
  local info = load(member)
  return info and info.at and 'waits' or 'granted'
end

-- It may not: keep its message until it may. -> parked | settled | go, token, unfinished starts
function operations.park(member, run, gates, lease, message)
  local info = load(member)
  if info then return again(member, info, run, gates, lease, 0, message) end
  local missing = undeclared(gates)
  if missing and kind_of(missing) == 'group' then return { 'settled' } end
  local token, running = token_of(member)
  if running and run < running then return { 'settled' } end -- else the present run would be taken for an older one
  if token then -- another copy runs, or its lease has not ended: this one waits behind it
    redis.call('HSET', MESSAGES, member, message)
    save(member, { state = 'running', gates = gates, run = run, place = token, starts = 1, token = token, behind = true })
    return { 'parked' }
  end
  forget_places(member, gates)
  local gate, when = blocked(member, gates)
  if not gate then return begin(member, newcomer(run, gates), run, gates, lease) end
  keep(member, run, gates, message, gate, when)
  return { 'parked' }
end

-- Emitted: waits here from the beginning, and is granted in its turn.
function operations.enter(member, run, gates, message, group)
  if redis.call('HEXISTS', INFO, member) == 1 or group and not join(group, member) then return false end
  local info = { gates = gates, run = run, place = number(), starts = 0, group = group or nil }
  redis.call('HSET', MESSAGES, member, message)
  wait_at(member, info, gates[1], now)
  wake_later(gates[1])
  return true
end
