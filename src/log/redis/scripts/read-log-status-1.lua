#!lua flags=allow-oom
-- Reads how much the partitions hold.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  name of a new log
-- Returns  name of the log, number of its partitions; of each its events, its dead letters, and how many were dropped
-- @include event-log dead-letters
-- @constants LOG_PARTITIONS
local call = redis.call
local key = KEYS[1]
local reply = { event_log.open(key, ARGV[2]), tonumber(call('HGET', key, 'partitions')) }
for partition = 0, LOG_PARTITIONS - 1 do
  local appended, trimmed, dropped = unpack(
    call('HMGET', key, 'appended:' .. partition, 'trimmed_events:' .. partition, 'dropped:' .. partition)
  )
  reply[partition + 3] = {
    (appended or 0) - (trimmed or 0), call('ZCARD', dead_letters.order_of(key, partition)), tonumber(dropped or 0),
  }
end
return reply
