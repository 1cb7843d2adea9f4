-- What every part uses. Times are milliseconds of Redis's clock.
--
-- A gate is "kind:name|key", such as "limit:smtp|" or "limit:tenant|42". A member is the id of a delivery.
--   gates                 hash   "kind:name" -> its definition in force
--   gates:due             zset   gate -> when to look at it next; a gate that nobody uses is in none of these keys
--   gate:held:<gate>      zset   member -> end of its lease (what runs, or was granted and is on its way)
--   gate:waiting:<gate>   zset   member -> its place
--   gate:state:<gate>     rate: time of its next free moment; breaker: hash of failures, until
--   gates:tokens          hash   member -> fence token of what holds its gates; once it runs "token:run begun process"
--   gates:counter         the last place and token given out
--   gates:granted         zset   member -> when its grant counts as lost on its way; once it runs: the end of its lease
--                                where none of its gates keeps one (rates, closed breakers)
--   parked:messages       hash   member -> its message, from parking to settling: JSON, or "stream LF a LF b", of which
--                                a .. token .. b is added to that stream of the broker when it is granted
--   gates:epoch           when somebody looked after an empty Redis first: another value tells that it was emptied
--   parked:info           hash   member -> {state, gates, run, place, starts, token, at, since, group, behind}; behind: a
--                                copy came while it ran, and what is parked may be that one's. state is
--                                waiting (at a gate), granted (on its way), running, retrying (holds nothing),
--                                kept (waits for its retry and keeps its sticky gates), held (dead, and keeps them),
--                                leaving (only its copy in the broker has its message, and is about to park)
local GRANT = 5000 -- for whoever was given a grant to publish it, or to renew it; if it dies, others wait for so long
local ON_ITS_WAY = 3600000 -- for a published grant to begin, behind whatever backlog
local TOLERANCE = 20 -- of a rate: nobody looks more often
local FOREVER = 9007199254740991
local BATCH = 100 -- looks at who waits, in one script: it must not take long

-- What callers ask for: {name, argument, ...}.
local operations = {}

-- Of one call; a library's functions are made once, when it is loaded.
local prefix, caller, streams, time, now, DUE, GRANTED, TOKENS, MESSAGES, INFO
local grants, room_there, troubles, definitions, to_wake, woken, looks

local function start(key, process, own_streams, room)
  prefix, caller, streams, time = key, process, own_streams, redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  DUE = prefix .. 'gates:due'
  GRANTED = prefix .. 'gates:granted'
  TOKENS = prefix .. 'gates:tokens'
  MESSAGES = prefix .. 'parked:messages'
  INFO = prefix .. 'parked:info'
  grants, room_there = {}, tonumber(room) -- so many that are granted now begin where the caller is
  troubles, definitions, looks = {}, {}, BATCH
  to_wake, woken = {}, {} -- in this order: of what came together, the first waits before the others
end

local function held(gate) return prefix .. 'gate:held:' .. gate end
local function waiting(gate) return prefix .. 'gate:waiting:' .. gate end
local function state(gate) return prefix .. 'gate:state:' .. gate end
local function kind_of(gate) return string.match(gate, '^(%a+):') end

local function definition(gate)
  local name = string.match(gate, '^[^|]*')
  if definitions[name] == nil then definitions[name] = redis.call('HGET', prefix .. 'gates', name) end
  return definitions[name]
end

-- An order, or a group of one at a time: kept while its member waits elsewhere or for its retry, so that none overtakes.
local function sticky(gate)
  local kind = kind_of(gate)
  return kind == 'order' or kind == 'group' and definition(gate) == '1'
end

local function number() return redis.call('INCR', prefix .. 'gates:counter') end

-- -> the fence token of whatever holds gates of the member, nil if nothing does; and which run that is, if it has begun
local function token_of(member)
  local holder = redis.call('HGET', TOKENS, member)
  if not holder then return nil end
  local token, run = string.match(holder, '^(%d+):?(%d*)')
  return tonumber(token), tonumber(run)
end

local function load(member)
  local text = redis.call('HGET', INFO, member)
  return text and cjson.decode(text) or nil
end

local function save(member, info) redis.call('HSET', INFO, member, cjson.encode(info)) end

local function look_at(gate, when)
  redis.call('ZADD', DUE, 'LT', when, gate)
end

local function wake_later(gate)
  if not woken[gate] then table.insert(to_wake, gate) end
  woken[gate] = true
end
