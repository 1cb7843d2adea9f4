-- argv: a JSON list of operations; the process that asks, as "host:pid"; what the names of its broker's streams begin with,
-- if they are in this Redis, or nothing; how many that are granted now it runs itself. keys: the system's prefix.
-- -> JSON: a reply for each; what the caller is to publish now {member, token, message}, or to run (and how often it has
-- begun in vain, its gates; its lease is GRANT); what is wrong
local function run(keys, argv)
  start(keys[1], argv[2], argv[3], argv[4])
  local replies = {}
  for index, operation in ipairs(cjson.decode(argv[1])) do
    for position, argument in ipairs(operation) do
      if argument == cjson.null then operation[position] = false end
    end
    local reply = operations[operation[1]](unpack(operation, 2))
    replies[index] = reply == nil and true or reply
  end
  wake_all()
  return cjson.encode({ replies, grants, troubles })
end
