#!lua flags=allow-oom
-- Makes the bucket known to this life of the server: a new life may lack the last commits of the one before, so it
-- counts in a new epoch.
--
-- KEYS[1]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epoch, if a new one begins
-- Returns  {epoch, nonce}
local epoch, nonce, run = unpack(redis.call('HMGET', KEYS[1], 'e', 'o', 'r'))
if run ~= ARGV[1] then
  epoch, nonce = string.format('%.0f', (tonumber(epoch) or 0) + 1), ARGV[2]
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', nonce, 'r', ARGV[1])
end
return { tonumber(epoch), tonumber(nonce) }
