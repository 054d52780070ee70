#!lua
-- Saves positions of a copy of the counts; those of other buckets stay.
--
-- KEYS[1]  tc:positions:name
-- ARGV[1]  run id of the server
-- ARGV[1 + i]  a bucket and its position, a blank between them
-- Returns  number of buckets that had no position
local added_count = 0
for i = 1, #ARGV - 1 do
  local bucket, position = string.match(ARGV[1 + i], '^(%d+) (.+)$')
  added_count = added_count + redis.call('HSET', KEYS[1], bucket, position)
end
return added_count
