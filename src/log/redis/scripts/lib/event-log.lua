-- scripts/lib/event-log.lua: the hash of the log, and its incarnation.
-- @constants LOG_PARTITIONS OFFSETS_PER_INCARNATION INCARNATION_MAX INCARNATIONS_A_SECOND FIRST_INCARNATION_S
local call, unpack, match, min, max = redis.call, unpack, string.match, math.min, math.max

local function stream_of(key, partition)
  return key .. ':' .. partition
end

-- Makes the log where there is none: the server is new, or was emptied.
-- @return its name
local function open(key, new_name)
  local name = call('HGET', key, 'name')
  if name then return name end
  local streams = {}
  for partition = 0, LOG_PARTITIONS - 1 do streams[partition + 1] = stream_of(key, partition) end
  -- The name of their log is lost, and with it which of their entries were counted.
  if call('EXISTS', unpack(streams)) > 0 then
    error({ err = 'ERR ' .. key .. ' is missing, but its partitions are there: delete ' .. stream_of(key, '*') .. ', too' })
  end
  call('HSET', key, 'name', new_name, 'partitions', LOG_PARTITIONS, 'events', 0)
  return new_name
end

local function incarnation_of_now()
  local time = call('TIME')
  local since_s = time[1] - FIRST_INCARNATION_S + time[2] / 1000000
  return min(math.floor(since_s * INCARNATIONS_A_SECOND), INCARNATION_MAX)
end

-- A server that was restarted or promoted may lack entries, so it goes on under another incarnation, with higher ids. Redis gives its
-- data another replication id then. The run id alone would not do: a primary may become a replica and a primary again.
-- @param run_id  names the history of a server that does not report its replication id
-- @return the incarnation
local function current_incarnation(key, run_id)
  local info = redis.pcall('INFO', 'replication')
  local history = type(info) == 'string' and match(info, 'master_replid:(%w+)') or run_id
  local recorded, incarnation = unpack(call('HMGET', key, 'history', 'incarnation'))
  incarnation = tonumber(incarnation or 0)
  if recorded == history then return incarnation end
  incarnation = max(incarnation + 1, incarnation_of_now())
  if incarnation > INCARNATION_MAX then error({ err = 'ERR the log has no offsets left: let it run empty, then delete it' }) end
  call('HSET', key, 'history', history, 'incarnation', incarnation)
  return incarnation
end

-- Offsets of another program may be above all that will ever be used, and a position must not get there.
-- @param incarnation  the last one
local function check_entry(stream, entry, incarnation)
  local id, fields = entry[1], entry[2]
  local is_own = fields[1] == 'events' and tonumber(fields[2]) and fields[3] == 'total' and tonumber(fields[4])
    and fields[5] == 'payload' and tonumber(match(id, '^%d+')) <= incarnation
  if is_own then return end
  -- Above all ids of this incarnation, which then ends.
  local last_id = incarnation .. '-' .. OFFSETS_PER_INCARNATION / 2
  error({ err = 'ERR ' .. stream .. ' has an entry of another program; remove it: XDEL ' .. stream .. ' ' .. id
    .. ', then XSETID ' .. stream .. ' ' .. last_id .. ';' })
end

return { stream_of = stream_of, open = open, current_incarnation = current_incarnation, check_entry = check_entry }
