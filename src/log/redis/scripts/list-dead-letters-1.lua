#!lua flags=no-writes
-- Lists dead letters of a partition, the oldest first.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  the partition
-- ARGV[3]  how many of the oldest are left out
-- ARGV[4]  letters at most
-- Returns  for each letter its id and the letter
-- @include dead-letters
local call = redis.call
local key, partition = KEYS[1], ARGV[2]
local ids = call('ZRANGE', dead_letters.order_of(key, partition), ARGV[3], ARGV[3] + ARGV[4] - 1)
local reply = {}
for i, id in ipairs(ids) do
  reply[2 * i - 1], reply[2 * i] = id, call('HGET', dead_letters.letters_of(key, partition), id) or ''
end
return reply
