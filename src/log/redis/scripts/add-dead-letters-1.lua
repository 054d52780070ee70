#!lua flags=allow-oom
-- Adds dead letters, or replaces those of the same id, and drops the oldest of a partition that has too many. Out of memory, too:
-- until they are written nothing is trimmed.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  name of a new log
-- ARGV[3]  letters of a partition at most
-- ARGV[3 + i]  of each letter: its partition, offset, id, and the letter
-- Returns  how many were new, how many were dropped
-- @include event-log dead-letters
local call = redis.call
local key, letters_max = KEYS[1], tonumber(ARGV[3])
event_log.open(key, ARGV[2])
local partitions, added_count, dropped_count = {}, 0, 0

for i = 4, #ARGV, 4 do
  local partition = ARGV[i]
  -- Fails before anything is written if the key has another type.
  if not partitions[partition] then call('HLEN', dead_letters.letters_of(key, partition)) end
  partitions[partition] = true
  call('ZADD', dead_letters.order_of(key, partition), ARGV[i + 1], ARGV[i + 2])
  added_count = added_count + call('HSET', dead_letters.letters_of(key, partition), ARGV[i + 2], ARGV[i + 3])
end

for partition in pairs(partitions) do
  local excess = call('ZCARD', dead_letters.order_of(key, partition)) - letters_max
  if excess > 0 then
    local oldest = call('ZPOPMIN', dead_letters.order_of(key, partition), excess)
    for i = 1, #oldest, 2 do call('HDEL', dead_letters.letters_of(key, partition), oldest[i]) end
    call('HINCRBY', key, 'dropped:' .. partition, excess)
    dropped_count = dropped_count + excess
  end
end
return { added_count, dropped_count }
