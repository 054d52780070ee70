#!lua flags=allow-oom
-- Removes dead letters.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[1 + i]  of each letter: its partition and its id
-- Returns  how many there were
-- @include dead-letters
local call = redis.call
local key, removed_count = KEYS[1], 0
for i = 2, #ARGV, 2 do
  call('ZREM', dead_letters.order_of(key, ARGV[i]), ARGV[i + 1])
  removed_count = removed_count + call('HDEL', dead_letters.letters_of(key, ARGV[i]), ARGV[i + 1])
end
return removed_count
